"""Small models of many kinds, with weights and statistics that are not at their first values."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class Residual(nn.Module):
    """A small residual network with batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList(_ResidualBlock(8) for _ in range(2))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = F.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class _ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x
        return self.relu(out)


class PreNorm(nn.Module):
    """A transformer with its own attention, layer norms before the blocks, GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.blocks = nn.ModuleList(_Block(16) for _ in range(2))
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 20, bias=False)

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gelu = nn.GELU()

    def forward(self, x):
        n, t, w = x.shape
        q, k, v = (
            y.view(n, t, 2, -1).transpose(1, 2) for y in self.qkv(self.norm1(x)).split(w, -1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, t, w))
        return x + self.down(self.gelu(self.up(self.norm2(x))))


class Recurrent(nn.Module):
    """A GRU between two linear maps."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 8)
        self.gru = nn.GRU(8, 8, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.outer = nn.Linear(8, 4)

    def forward(self, x):
        y, _ = self.gru(torch.tanh(self.inner(x)))
        return self.outer(self.norm(y))


class UNet(nn.Module):
    """Down and up again, with a skip connection and a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 6, 3, padding=1)
        self.deep = nn.Conv2d(6, 12, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(3, 12)
        self.up = nn.ConvTranspose2d(12, 6, 2, stride=2)
        self.join = nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, x):
        shallow = F.silu(self.down(x))
        deep = F.silu(self.norm(self.deep(shallow)))
        return self.join(torch.cat([shallow, self.up(deep)], 1))


class Mobile(nn.Module):
    """Depthwise and pointwise convolutions, a gate of its own channels."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Conv2d(3, 12, 1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.bn = nn.BatchNorm2d(12)
        self.act = nn.Hardswish()
        self.squeeze, self.excite = nn.Linear(12, 4), nn.Linear(4, 12)
        self.project = nn.Conv2d(12, 4, 1)

    def forward(self, x):
        x = self.act(self.bn(self.depthwise(self.expand(x))))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return self.project(x * gate[:, :, None, None])


class Mixer(nn.Module):
    """Mixes patches, then channels."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 2, stride=2)
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.tokens, self.channels = nn.Linear(16, 16), nn.Linear(8, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = x + F.gelu(self.tokens(self.norm1(x).transpose(1, 2))).transpose(1, 2)
        x = x + F.gelu(self.channels(self.norm2(x)))
        return self.head(x.mean(1))


def _plain() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3)),
        *(nn.BatchNorm2d(12), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(48, 5)),
    )


def _mlp() -> nn.Module:
    layers: list[nn.Module] = []
    for width in (24, 32, 24):
        layers += [nn.Linear(24, width), nn.LayerNorm(width), nn.GELU()]
        layers += [nn.Linear(width, 24)]
    return nn.Sequential(*layers, nn.Linear(24, 6))


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    return nn.Sequential(nn.Linear(6, 16), nn.TransformerEncoder(layer, 2), nn.Linear(16, 3))


def _autoencoder() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv1d(2, 8, 5, stride=2), nn.BatchNorm1d(8), nn.ELU(), nn.Conv1d(8, 4, 3)),
        *(
            nn.Tanh(),
            nn.ConvTranspose1d(4, 8, 3),
            nn.Softplus(),
            nn.ConvTranspose1d(8, 2, 6, stride=2),
        ),
    )


def _gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2, use_cache=False
    )
    return GPT2LMHeadModel(config)


def _vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=8,
        patch_size=4,
    )
    return ViTForImageClassification(config)


def image(n: int = 4) -> torch.Tensor:
    return torch.randn(n, 3, 8, 8)


def sequence(n: int = 4) -> torch.Tensor:
    return torch.randn(n, 5, 6)


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "plain cnn": (_plain, image),
    "residual": (Residual, image),
    "mlp": (_mlp, lambda: torch.randn(8, 24)),
    "transformer": (PreNorm, lambda: torch.randint(20, (3, 6))),
    "encoder": (_encoder, sequence),
    "gru": (Recurrent, sequence),
    "u-net": (UNet, image),
    "mobile": (Mobile, image),
    "mixer": (Mixer, image),
    "autoencoder": (_autoencoder, lambda: torch.randn(4, 2, 20)),
    "gpt-2": (_gpt2, lambda: {"input_ids": torch.randint(50, (2, 8))}),
    "vit": (_vit, lambda: {"pixel_values": image(2)}),
}
"""Architectures by name: how to build the model, and how to draw a batch."""


def build(name: str, seed: int) -> tuple[nn.Module, Any]:
    """A model whose every parameter and statistic has been moved at random, and a batch."""
    make, draw = MODELS[name]
    torch.manual_seed(seed)
    model = make()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for path, buffer in model.named_buffers():
            if path.endswith("running_mean"):
                buffer.normal_(0, 0.3)
            if path.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
    model.train(bool(seed % 2))
    return model, draw()
