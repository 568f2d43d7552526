"""The trainings that must not notice a recording: every way of training we could think of."""

import copy
import io
import random
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests.neutrality.harness import Training


def images(n: int = 4, size: int = 8) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 3, size, size), torch.randint(0, 10, (n,))


def vectors(n: int = 8) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 16), torch.randint(0, 10, (n,))


def tokens(n: int = 2, length: int = 8) -> Tensor:
    return torch.randint(0, 50, (n, length))


def classify(model: nn.Module, optimizer: torch.optim.Optimizer, draw) -> Training:
    """The plainest of all loops."""

    def step(_: int) -> Tensor:
        x, y = draw()
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Training(model, [optimizer], step)


def mlp(*between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(16, 16), nn.ReLU(), *between, nn.Linear(16, 10))


# ---- convolutional nets


def plain_cnn() -> Training:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10)
    )
    return classify(model, torch.optim.SGD(model.parameters(), 0.05, momentum=0.9), images)


class Block(nn.Module):
    """A residual block with a shared in-place ReLU and an addition in place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        out += x
        return self.relu(out)


def resnet() -> nn.Sequential:
    stem = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.ReLU(inplace=True), nn.Linear(8, 10)]
    return nn.Sequential(*stem, Block(8), Block(8), *head)


def residual_in_place() -> Training:
    model = resnet()
    return classify(model, torch.optim.AdamW(model.parameters(), 1e-3), images)


def residual_channels_last() -> Training:
    model = resnet().to(memory_format=torch.channels_last)

    def draw() -> tuple[Tensor, Tensor]:
        x, y = images()
        return x.to(memory_format=torch.channels_last), y

    return classify(
        model, torch.optim.SGD(model.parameters(), 0.05, nesterov=True, momentum=0.9), draw
    )


def transformers_resnet() -> Training:
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=10
    )
    return from_transformers(ResNetForImageClassification(config), lambda: images(4, 16))


def vit() -> Training:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=8,
        patch_size=4,
        num_labels=10,
    )
    return from_transformers(ViTForImageClassification(config), images)


def from_transformers(model: nn.Module, draw) -> Training:
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    model.train()

    def step(_: int) -> Tensor:
        x, y = draw()
        loss = model(x, labels=y).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Training(model, [optimizer], step)


# ---- language models


def gpt2() -> Training:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=50,
        n_positions=16,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=None,
        eos_token_id=None,
    )
    return from_transformers(GPT2LMHeadModel(config), lambda: 2 * (tokens(),))


def llama() -> Training:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=16,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    return from_transformers(LlamaForCausalLM(config), lambda: 2 * (tokens(),))


def encoder() -> Training:
    """torch's own transformer: multi-head attention, dropout, nested fast paths."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(64, 10))
    draw = lambda: (torch.randn(4, 4, 16), torch.randint(0, 10, (4,)))  # noqa: E731
    training = classify(model, torch.optim.Adam(model.parameters(), 1e-3), draw)

    def step(i: int) -> Tensor:
        loss = training.step(i)
        model.eval()
        with torch.no_grad():
            score = model(draw()[0]).sum()
        model.train()
        return loss + score

    return Training(model, training.optimizers, step)


class TiedWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru = nn.Embedding(50, 16), nn.GRU(16, 16, batch_first=True)
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.gru(self.embed(x))[0]))


def tied_weights() -> Training:
    model = TiedWeights()

    def draw() -> tuple[Tensor, Tensor]:
        x = tokens()
        return x[:, :-1], x[:, 1:]

    optimizer = torch.optim.Adam(model.parameters(), 1e-2)

    def step(_: int) -> Tensor:
        x, y = draw()
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Training(model, [optimizer], step)


# ---- ways of training


def batch_norm_dropout() -> Training:
    """Draws from all three generators in each step."""
    model = mlp(nn.BatchNorm1d(16), nn.Dropout(0.5), nn.GELU())

    def draw() -> tuple[Tensor, Tensor]:
        x, y = vectors()
        return x * float(np.random.rand()) + random.random(), y  # noqa: NPY002

    return classify(model, torch.optim.RMSprop(model.parameters(), 1e-3), draw)


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = mlp(nn.Dropout(0.2)), mlp(nn.Dropout(0.2))
        self.join = nn.Linear(10, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint(self.first, x, use_reentrant=False)
        return checkpoint(self.second, F.relu(self.join(x)), use_reentrant=True)


def checkpointing() -> Training:
    model = Checkpointed()
    return classify(model, torch.optim.AdamW(model.parameters(), 1e-3), vectors)


def gradient_accumulation() -> Training:
    """Three micro-batches, gradients clipped, a schedule for the learning rate."""
    model = mlp(nn.LayerNorm(16), nn.SiLU())
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)

    def step(_: int) -> Tensor:
        optimizer.zero_grad()
        total = torch.zeros(())
        for _ in range(3):
            x, y = vectors()
            loss = F.cross_entropy(model(x), y) / 3
            loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        scheduler.step()
        return total

    return Training(model, [optimizer], step)


def autocast_bfloat16() -> Training:
    model = resnet()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)

    def step(_: int) -> Tensor:
        x, y = images()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Training(model, [optimizer], step)


def pure_bfloat16() -> Training:
    model = mlp(nn.LayerNorm(16), nn.Softplus()).bfloat16()
    draw = lambda: (vectors()[0].bfloat16(), torch.randint(0, 10, (8,)))  # noqa: E731
    return classify(model, torch.optim.SGD(model.parameters(), 0.05), draw)


def grad_scaler(*, fused: bool = False) -> Training:
    """Starts at a scale that overflows, so that the first updates are held back."""
    model = mlp(nn.Tanh())
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=5)

    def step(_: int) -> Tensor:
        x, y = vectors()
        with torch.autocast("cpu", torch.float16):
            logits = model(x)
        loss = F.cross_entropy(logits.float(), y)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    return Training(model, [optimizer], step, scaler.state_dict)


def fused_grad_scaler() -> Training:
    return grad_scaler(fused=True)


class Pair(nn.Module):
    """A generator and a discriminator."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.discriminator = mlp(nn.Sigmoid()), nn.Linear(10, 1)


def two_optimizers() -> Training:
    """A generative adversarial pair; no call of the whole model ever happens."""
    model = Pair()
    first = torch.optim.Adam(model.generator.parameters(), 1e-3)
    second = torch.optim.SGD(model.discriminator.parameters(), 1e-2)

    def step(_: int) -> Tensor:
        fake = model.generator(torch.randn(8, 16))
        loss = F.softplus(model.discriminator(fake.detach())).mean()
        loss = loss + F.softplus(-model.discriminator(torch.randn(8, 10))).mean()
        second.zero_grad()
        loss.backward()
        second.step()
        deceit = F.softplus(-model.discriminator(fake)).mean()
        first.zero_grad()
        deceit.backward()
        first.step()
        return loss + deceit

    return Training(model, [first, second], step)


def gradient_penalty() -> Training:
    """Differentiates a gradient, over an input that is a leaf."""
    model = mlp(nn.ELU())
    optimizer = torch.optim.SGD(model.parameters(), 0.01)

    def step(_: int) -> Tensor:
        x, y = vectors()
        x.requires_grad_()
        loss = F.cross_entropy(model(x), y)
        (gradient,) = torch.autograd.grad(loss, [x], create_graph=True)
        loss = loss + gradient.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Training(model, [optimizer], step)


def closure() -> Training:
    """L-BFGS calls the model several times within its step."""
    model = mlp(nn.Hardswish()).double()
    optimizer = torch.optim.LBFGS(model.parameters(), 0.1, max_iter=3)

    def step(_: int) -> Tensor:
        x, y = vectors()

        def evaluate() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x.double()), y)
            loss.backward()
            return loss

        return optimizer.step(evaluate)

    return Training(model, [optimizer], step)


def averaged_and_saved() -> Training:
    """Copies, saves, loads and evaluates the model in the middle of its training."""
    model = resnet()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    inner = classify(model, optimizer, images)
    average = torch.optim.swa_utils.AveragedModel(model)
    scores: list[Tensor] = []

    def step(i: int) -> Tensor:
        loss = inner.step(i)
        average.update_parameters(model)
        if i % 10 == 2:
            buffer = io.BytesIO()
            torch.save(model, buffer)
            buffer.seek(0)
            copies = [copy.deepcopy(model), torch.load(buffer, weights_only=False), average]
            with torch.no_grad():
                scores.extend(each.eval()(images()[0]) for each in copies)
        return loss

    return Training(model, [optimizer], step, lambda: [average.state_dict(), scores])


class Functional(nn.Module):
    """Views changed in place, clamps, modules made on the fly, shared calls, frozen weights."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(16, 16), nn.Linear(16, 10)
        self.frozen = nn.Linear(16, 16).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x).view(-1, 4, 4)
        F.relu(x[:, 1:3], inplace=True)
        x = self.frozen(x.flatten(1)).clamp(min=0)
        for _ in range(20):
            x = nn.ReLU()(self.one(x)) + F.leaky_relu_(self.one(x), 0.1)
            x = x / (1 + x.abs().amax())
        return self.two(x).log_softmax(1)


def functional() -> Training:
    model = Functional()
    trained = [p for p in model.parameters() if p.requires_grad]
    return classify(model, torch.optim.Adagrad(trained, 0.01), vectors)


TRAININGS: dict[str, Callable[[], Training]] = {
    build.__name__: build
    for build in (
        plain_cnn,
        residual_in_place,
        residual_channels_last,
        transformers_resnet,
        vit,
        gpt2,
        llama,
        encoder,
        tied_weights,
        batch_norm_dropout,
        checkpointing,
        gradient_accumulation,
        autocast_bfloat16,
        pure_bfloat16,
        grad_scaler,
        fused_grad_scaler,
        two_optimizers,
        gradient_penalty,
        closure,
        averaged_and_saved,
        functional,
    )
}
