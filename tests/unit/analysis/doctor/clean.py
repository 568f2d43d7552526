"""Models that are fine, and things that look like traps and are none."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.unit.analysis.doctor.traps import BRAIN, Holder, linear


def trained(model, loss, optimizer=None):
    """A model as it is in the middle of a training, with gradients and states."""
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
    return model, optimizer


def hugging_face(name):
    import transformers

    torch.manual_seed(0)
    if name == "resnet":
        config = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=10
        )
        model = transformers.ResNetForImageClassification(config)
    elif name == "vit":
        config = transformers.ViTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            image_size=16,
            patch_size=4,
            num_labels=10,
        )
        model = transformers.ViTForImageClassification(config)
    elif name == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=50,
            n_positions=2048,
            n_embd=32,
            n_layer=2,
            n_head=2,
            bos_token_id=None,
            eos_token_id=None,
        )
        model = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.LlamaConfig(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
        )
        model = transformers.LlamaForCausalLM(config)
    return model


def images(model):
    return model(torch.randn(2, 3, 16, 16), labels=torch.tensor([1, 2])).loss


def text(model):
    ids = torch.arange(24).view(2, 12)
    return model(ids, labels=ids).loss


def plain_cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(1568, 10),
    )


def classified(model):
    return F.cross_entropy(model(torch.randn(4, 3, 16, 16)), torch.tensor([1, 2, 3, 4]))


CLEAN = {
    "resnet": lambda: trained(hugging_face("resnet"), images),
    "vit": lambda: trained(hugging_face("vit"), images),
    "gpt2": lambda: trained(hugging_face("gpt2"), text),
    "llama": lambda: trained(hugging_face("llama"), text),
    "cnn": lambda: trained(plain_cnn(), classified),
    "cnn with SGD": lambda: trained(
        m := plain_cnn(), classified, torch.optim.SGD(m.parameters(), 0.01, 0.9, weight_decay=5e-4)
    ),
}


def in_bfloat16():
    """Weights in BF16, frequencies in FP32, as libraries load them."""
    model = hugging_face("llama")
    for parameter in model.parameters():
        parameter.data = parameter.data.to(BRAIN)
    return model


def causal():
    mask = torch.full((64, 64), float("-inf")).triu(1)
    return Holder(mask=mask, bias=torch.ones(64, 64, dtype=torch.bool).tril())


def observer():
    return Holder(min_val=torch.tensor(float("inf")), max_val=torch.tensor(float("-inf")))


def with_schedule():
    """A learning rate that a warm-up has set to nearly nothing for now."""
    model = linear()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 1e6)
    return model, optimizer


def with_average():
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9999)
    return torch.optim.swa_utils.AveragedModel(linear(), multi_avg_fn=average)


HARMLESS = {
    "Llama in BF16 with its frequencies in FP32": in_bfloat16,
    "causal mask": causal,
    "observers before their first value": observer,
    "whole numbers that BF16 holds": lambda: Holder(BRAIN, ids=torch.arange(256).to(BRAIN)),
    "positions as they should be": lambda: Holder(BRAIN, position_ids=torch.arange(4096)),
    "int8 weights": lambda: Holder(q=torch.arange(-128, 128).to(torch.int8)),
    "a ramp between two numbers": lambda: Holder(BRAIN, ramp=torch.linspace(0, 1, 1000).to(BRAIN)),
    "statistics of FP32 in a BF16 model": lambda: nn.Sequential(linear(BRAIN), nn.BatchNorm1d(16)),
    "native norm layer with a small eps in FP16": lambda: nn.LayerNorm(16, eps=1e-12).half(),
    "a learning rate that is warming up": with_schedule,
    "average of weights in FP32": with_average,
    "frozen FP8 weights": lambda: nn.ParameterList(
        [nn.Parameter(torch.ones(8).to(torch.float8_e4m3fn), requires_grad=False)]
    ),
    "meta device": lambda: nn.Linear(8, 8, device="meta"),
    "lazy layers": lambda: nn.LazyLinear(4),
    "nothing": lambda: nn.Identity(),
    "zeros and ones": lambda: nn.BatchNorm1d(512),
    "sparse buffer": lambda: Holder(adjacency=torch.eye(4).to_sparse()),
    "complex buffer": lambda: Holder(roots=torch.ones(4, dtype=torch.complex64)),
}
