"""Layers that are built in other ways: recurrent, attention, parametrized, scripted, sparse."""

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, rnn

from tests.neutrality.harness import Training
from tests.neutrality.models import classify, images, mlp, vectors


def sequences(n: int = 4, length: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(n, length, 16), torch.randint(0, 10, (n,))


class Recurrent(nn.Module):
    """Three kinds of recurrent layers, one over a packed sequence, one cell called step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 8, 2, batch_first=True, dropout=0.1, bidirectional=True)
        self.gru, self.rnn = nn.GRU(16, 8, batch_first=True), nn.RNN(8, 8, nonlinearity="relu")
        self.cell, self.head = nn.LSTMCell(8, 8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.tensor([5, 5, 3, 1])
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=True)
        x, _ = rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        x = self.rnn(F.relu(self.gru(x)[0]))[0]
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(torch.sigmoid(state[0]))


def recurrent() -> Training:
    model = Recurrent()
    return classify(model, torch.optim.RMSprop(model.parameters(), 1e-3, momentum=0.9), sequences)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, dropout=0.1, batch_first=True)
        self.project, self.head = nn.Linear(16, 48), nn.Linear(16, 10)
        self.norm = nn.RMSNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x, x, x, need_weights=True)[0]
        q, k, v = self.project(self.norm(x)).view(*x.shape[:2], 3, 2, 8).unbind(2)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(F.silu(mixed.transpose(1, 2).flatten(2)).mean(1))


def attention() -> Training:
    model = Attention()
    return classify(model, torch.optim.NAdam(model.parameters(), 1e-3), sequences)


def parametrized() -> Training:
    """Weights that are computed anew in each forward; one of them draws on buffers of its own."""
    model = mlp(nn.LeakyReLU(0.1))
    parametrizations.weight_norm(model[0])
    parametrizations.spectral_norm(model[-1])
    parametrizations.orthogonal(model.append(nn.Linear(10, 10))[-1])
    return classify(model, torch.optim.SGD(model.parameters(), 0.05), vectors)


class Lists(nn.Module):
    """Parameters in lists and dictionaries, applied without a module for each."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([torch.randn(16, 16) / 4 for _ in range(3)])
        self.heads = nn.ParameterDict({"out": torch.randn(10, 16) / 4, "bias": torch.zeros(10)})

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            x = torch.relu_(F.linear(x, weight)) + F.hardtanh(x)
        return F.linear(x, self.heads["out"], self.heads["bias"])


def parameter_lists() -> Training:
    model = Lists()
    groups = [{"params": list(model.weights)}, {"params": list(model.heads.values()), "lr": 0.01}]
    return classify(model, torch.optim.SGD(groups, 0.05, weight_decay=1e-2), vectors)


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(2, 8), nn.Mish())
        self.up = nn.Sequential(
            nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.InstanceNorm2d(4, affine=True)
        )
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.head = nn.Linear(4 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.elu_(self.depthwise(F.celu(self.up(self.down(x))))).flatten(1))


def autoencoder_channels_last() -> Training:
    model = Autoencoder().to(memory_format=torch.channels_last)
    draw = lambda: tuple(  # noqa: E731
        part.to(memory_format=torch.channels_last) if part.ndim == 4 else part for part in images()
    )
    return classify(model, torch.optim.RAdam(model.parameters(), 1e-3), draw)


class Routed(nn.Module):
    """A mixture of experts: the data decide which weights get a gradient; it returns a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.head = nn.Linear(16, 4), nn.Linear(16, 10)
        self.experts = nn.ModuleList(
            [nn.Sequential(nn.Linear(16, 16), nn.GELU()) for _ in range(4)]
        )
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        chosen = self.gate(x).argmax(1)
        parts = torch.zeros_like(x)
        for index, expert in enumerate(self.experts):
            if bool((chosen == index).any()):
                parts[chosen == index] = expert(x[chosen == index])
        return {"logits": self.head(parts), "chosen": chosen}


def routed() -> Training:
    model = Routed()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

    def step(_: int) -> Tensor:
        x, y = vectors()
        loss = F.cross_entropy(model(x)["logits"], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Training(model, [optimizer], step)


class Straight(torch.autograd.Function):
    """Rounds in the forward pass, and lets the gradient pass: fake quantization."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return (x * 16).round() / 16

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


class Quantized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(16, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(F.relu6(F.linear(x, Straight.apply(self.one.weight), self.one.bias)))


def custom_function() -> Training:
    model = Quantized()
    return classify(model, torch.optim.Rprop(model.parameters(), 1e-3), vectors)


def torchscript() -> Training:
    """A scripted part and a traced part; TorchScript is deprecated, and in use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(mlp())
        traced = torch.jit.trace(nn.Sequential(nn.Linear(10, 16), nn.Tanh()), torch.randn(8, 10))
    model = nn.Sequential(scripted, nn.ReLU(), traced, nn.Linear(16, 10))
    return classify(model, torch.optim.SGD(model.parameters(), 0.05), vectors)


class Embeddings(nn.Module):
    """Sparse gradients, and an embedding that renormalises its own weight in the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 16, sparse=True)
        self.bag = nn.EmbeddingBag(50, 16, sparse=True, mode="sum")
        self.limited = nn.Embedding(50, 16, max_norm=1.0)
        self.dense = mlp(nn.Softsign())

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.words(x).mean(1) + self.bag(x) + self.limited(x).sum(1))


def sparse_and_dense() -> Training:
    """Two optimizers: one for the sparse gradients, one for the others."""
    model = Embeddings()
    sparse = [*model.words.parameters(), *model.bag.parameters()]
    dense = [*model.dense.parameters(), *model.limited.parameters()]
    optimizers = [torch.optim.SparseAdam(sparse, 1e-3), torch.optim.Adam(dense, 1e-3)]

    def step(_: int) -> Tensor:
        loss = F.cross_entropy(model(torch.randint(0, 50, (8, 4))), torch.randint(0, 10, (8,)))
        model.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        return loss

    return Training(model, optimizers, step)


def ten_thousand_modules() -> Training:
    """Many small modules: 10,001 with those that hold them."""
    blocks = [nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)) for _ in range(2500)]
    model = Residual(blocks)
    assert sum(1 for _ in model.modules()) > 10_000
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    draw = lambda: (torch.randn(4, 2), torch.randint(0, 2, (4,)))  # noqa: E731
    return classify(model, optimizer, draw)


class Residual(nn.Module):
    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + 0.01 * block(x)
        return x


LAYERS = (
    recurrent,
    attention,
    parametrized,
    parameter_lists,
    autoencoder_channels_last,
    routed,
    custom_function,
    torchscript,
    sparse_and_dense,
)
SLOW_LAYERS = (ten_thousand_modules,)
