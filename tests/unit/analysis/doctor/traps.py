"""Traps, planted: how to build each, and the kind of finding that must name it."""

import copy

import torch
from torch import nn

HALF, BRAIN = torch.float16, torch.bfloat16


class Holder(nn.Module):
    """A linear layer, and buffers and constants as a user would have them."""

    def __init__(self, dtype=torch.float32, **own):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(16, 16, dtype=dtype)
        for name, value in own.items():
            if isinstance(value, torch.Tensor):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)


def linear(dtype=torch.float32, n=16):
    torch.manual_seed(0)
    return nn.Linear(n, n, dtype=dtype)


def stepped(model, optimizer):
    """Take one step, so that gradients and states are there."""
    dtype = next(model.parameters()).dtype
    model(torch.ones(4, 16, dtype=dtype)).square().sum().backward()
    optimizer.step()
    return model, optimizer


def with_weights(change, dtype=torch.float32, n=16):
    model = linear(dtype, n)
    with torch.no_grad():
        change(model.weight)
    return model


def rotary(dtype):
    return (10_000.0 ** -(torch.arange(0, 64, 2) / 64)).to(dtype)


def causal_with_an_empty_row():
    mask = torch.full((8, 8), float("-inf")).triu(1)
    mask[3] = float("-inf")
    return Holder(mask=mask)


def cast_states(model, optimizer, keys, dtype):
    for state in optimizer.state.values():
        state.update({k: v.to(dtype) for k, v in state.items() if k in keys})
    return model, optimizer


def torn():
    model = nn.ModuleDict({"embed": nn.Embedding(16, 16), "head": nn.Linear(16, 16, bias=False)})
    model["head"].weight = model["embed"].weight
    model["head"] = copy.deepcopy(model["head"]).to(BRAIN)
    return model


def frozen_ema():
    model = linear(BRAIN)
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9999)
    return torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=average)


def stale():
    model = nn.Sequential(linear(), linear())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model[1] = nn.Linear(16, 4)
    return model, optimizer


def half_used():
    model = nn.Sequential(linear(), linear())
    return model, torch.optim.Adam(model[1].parameters())


def twice_used():
    model = linear()
    adam = torch.optim.Adam(model.parameters())
    return model, [adam, torch.optim.SGD([model.weight], 0.1)]


def scaled(dtype, scale=2.0**16):
    model = linear(dtype)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return model, optimizer, torch.amp.GradScaler("cpu", init_scale=scale)


def adam(dtype, lr=1e-3, kind=torch.optim.AdamW, **constants):
    model = linear(dtype)
    return model, kind(model.parameters(), lr=lr, **constants)


def vanished_rate():
    model, optimizer = adam(torch.float32)
    rate = torch.tensor(1e-8, dtype=HALF)
    optimizer.param_groups[0].update(initial_lr=1e-8, lr=rate)
    return model, optimizer


def sgd_with_gradients():
    model = linear(BRAIN)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-4)
    return model, torch.optim.SGD(model.parameters(), 1e-3)


def norm_in(dtype, **options):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, **options)).to(dtype)


class OwnNorm(nn.Module):
    def __init__(self, eps):
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.ones(16)), eps


def narrow_llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        pad_token_id=None,
    )
    return LlamaForCausalLM(config).to(BRAIN)


def poisoned_state():
    model, optimizer = stepped(*adam(torch.float32))
    optimizer.state[model.weight]["exp_avg"][0, 0] = float("nan")
    return model, optimizer


def narrow_gradient():
    model = linear()
    model.weight.grad_dtype = BRAIN
    model.weight.grad = torch.ones(16, 16, dtype=BRAIN)
    return model


def poisoned_gradient():
    model = linear()
    model.weight.grad = torch.full((16, 16), float("inf"))
    return model


# What is planted, by name: how to build it, and the kind of finding that must name it.
TRAPS = {
    "positions in BF16": (
        lambda: Holder(position_ids=torch.arange(512).to(BRAIN)),
        "colliding-integers",
    ),
    "positions in FP16": (
        lambda: Holder(ids=torch.arange(4096).to(HALF)[None]),
        "colliding-integers",
    ),
    "any arange in BF16": (
        lambda: Holder(table=torch.arange(3, 900, 2).to(BRAIN)),
        "colliding-integers",
    ),
    "a table of indices in BF16": (
        lambda: Holder(relative_position_index=(torch.arange(900).view(30, 30) % 841).to(BRAIN)),
        "colliding-integers",
    ),
    "positions in int8": (
        lambda: Holder(position_ids=torch.arange(300).to(torch.int8)),
        "wrapped-integers",
    ),
    "rotary frequencies in BF16": (lambda: Holder(inv_freq=rotary(BRAIN)), "coarse-frequencies"),
    "rotary frequencies in FP16": (lambda: Holder(inv_freq=rotary(HALF)), "coarse-frequencies"),
    "a Llama that was cast whole": (narrow_llama, "coarse-frequencies"),
    "positional encoding with equal rows": (
        lambda: Holder(pos_table=(torch.arange(300)[:, None] / 300 * torch.ones(4)).to(BRAIN)),
        "equal-positions",
    ),
    "mask constant that overflowed": (
        lambda: Holder(HALF, masked_bias=torch.tensor(-1e9).half()),
        "infinite-mask",
    ),
    "mask with an empty row": (causal_with_an_empty_row, "infinite-mask"),
    "wide mask beside FP16 weights": (
        lambda: Holder(HALF, bias=torch.full((4, 4), -1e9).triu(1)),
        "infinite-mask",
    ),
    "mask constant of a module": (lambda: Holder(HALF, mask_value=-1e9), "overflowing-constant"),
    "counter in BF16": (
        lambda: Holder(num_batches_tracked=torch.zeros((), dtype=BRAIN)),
        "stuck-counter",
    ),
    "counter in FP16": (lambda: Holder(n_updates=torch.tensor([7.0]).half()), "stuck-counter"),
    "step of the optimizer in BF16": (
        lambda: cast_states(*stepped(*adam(torch.float32)), ["step"], BRAIN),
        "stuck-counter",
    ),
    "second moment in BF16": (lambda: adam(BRAIN), "frozen-average"),
    "second moment of RMSprop in BF16": (
        lambda: adam(BRAIN, kind=torch.optim.RMSprop, alpha=0.999),
        "frozen-average",
    ),
    "long momentum in BF16": (
        lambda: adam(BRAIN, kind=torch.optim.SGD, momentum=0.999),
        "frozen-average",
    ),
    "long average in FP32": (lambda: adam(torch.float32, betas=(0.9, 1 - 1e-9)), "frozen-average"),
    "narrow states of FP32 weights": (
        lambda: cast_states(*stepped(*adam(torch.float32)), ["exp_avg", "exp_avg_sq"], BRAIN),
        "narrow-states",
    ),
    "states of FP32 weights that cannot decay": (
        lambda: cast_states(*stepped(*adam(torch.float32)), ["exp_avg_sq"], BRAIN),
        "frozen-average",
    ),
    "eps of Adam in FP16": (lambda: adam(HALF, kind=torch.optim.Adam), "vanished-epsilon"),
    "eps below FP32": (lambda: adam(torch.float32, eps=1e-50), "vanished-epsilon"),
    "squares in FP16": (lambda: adam(HALF, eps=1e-4), "underflowing-squares"),
    "a learning rate that is a tensor of FP16": (vanished_rate, "rounded-constant"),
    "weight decay in BF16": (lambda: adam(BRAIN, weight_decay=0.1), "inert-weight-decay"),
    "weight decay in FP32": (
        lambda: adam(torch.float32, lr=1e-7, weight_decay=0.1),
        "inert-weight-decay",
    ),
    "weight decay of SGD in BF16": (
        lambda: adam(BRAIN, 0.1, torch.optim.SGD, weight_decay=5e-4),
        "inert-weight-decay",
    ),
    "small steps in BF16": (lambda: adam(BRAIN, 1e-5), "swamped-steps"),
    "norm weights of one in BF16": (
        lambda: ((m := nn.LayerNorm(16).to(BRAIN)), torch.optim.Adam(m.parameters(), 1e-3)),
        "swamped-steps",
    ),
    "small gradients of SGD in BF16": (sgd_with_gradients, "swamped-steps"),
    "eps of a norm layer in FP16": (
        lambda: nn.Sequential(OwnNorm(1e-8), linear()).half(),
        "vanished-norm-epsilon",
    ),
    "eps of a norm layer in FP32": (lambda: nn.LayerNorm(4, eps=1e-60), "vanished-norm-epsilon"),
    "eps of a similarity in FP16": (
        lambda: nn.Sequential(linear(), nn.CosineSimilarity(eps=1e-9)).half(),
        "vanished-norm-epsilon",
    ),
    "running statistics in BF16": (lambda: norm_in(BRAIN), "swamped-statistics"),
    "slow running statistics in FP16": (lambda: norm_in(HALF, momentum=0.01), "swamped-statistics"),
    "running statistics that stand still": (
        lambda: norm_in(torch.float32, momentum=1e-8),
        "swamped-statistics",
    ),
    "average of weights in BF16": (frozen_ema, "frozen-copy"),
    "average of a codebook in BF16": (
        lambda: Holder(decay=0.999, embed_avg=torch.rand(8, 8).to(BRAIN)),
        "frozen-copy",
    ),
    "tied weights, torn": (torn, "torn-tie"),
    "weights in no optimizer": (half_used, "unoptimized-weights"),
    "an optimizer of weights that are gone": (stale, "unoptimized-weights"),
    "weights in two optimizers": (twice_used, "shared-by-optimizers"),
    "weights in FP8": (
        lambda: nn.ParameterList([nn.Parameter(torch.ones(8).to(torch.float8_e4m3fn))]),
        "untrainable-dtype",
    ),
    "FP16 beside BF16": (
        lambda: nn.Sequential(linear(BRAIN), linear(HALF), linear(BRAIN)),
        "mixed-halves",
    ),
    "FP64 buffer": (lambda: Holder(scale=torch.ones(4, dtype=torch.float64)), "stray-float64"),
    "FP16 without a scaler": (lambda: adam(HALF, 0.1, torch.optim.SGD), "fp16-without-scaling"),
    "FP16 weights with a scaler": (lambda: scaled(HALF), "fp16-weights-and-scaler"),
    "a scaler with BF16": (lambda: scaled(BRAIN), "scaler-with-bfloat16"),
    "a loss scale that fell": (lambda: scaled(torch.float32, 2.0**-12), "collapsed-loss-scale"),
    "NaN in a weight": (
        lambda: with_weights(lambda w: w[0].fill_(float("nan"))),
        "nonfinite-values",
    ),
    "infinity in a buffer": (
        lambda: Holder(scale=torch.tensor([1.0, float("inf")])),
        "nonfinite-values",
    ),
    "NaN in a state": (poisoned_state, "nonfinite-values"),
    "infinite gradient": (poisoned_gradient, "nonfinite-values"),
    "subnormal weights in FP16": (
        lambda: with_weights(lambda w: w.mul_(1e-4), HALF),
        "subnormal-values",
    ),
    "weights at the end of FP16": (
        lambda: with_weights(lambda w: w.fill_(50_000), HALF),
        "little-headroom",
    ),
    "gradients in BF16": (narrow_gradient, "narrow-gradients"),
    "BF16 numbers in FP32": (lambda: linear(BRAIN, 64).float(), "narrow-contents"),
}
