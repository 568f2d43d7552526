"""Trainings with torch.compile, compiled before and after the recording begins."""

import functools
import shutil
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from tests.neutrality.harness import Training
from tests.neutrality.models import TiedWeights, classify, images, mlp, resnet, tokens, vectors

BACKENDS = ("eager", "aot_eager", "inductor")


def has_compiler() -> bool:
    """Whether there is a C++ compiler, which the inductor back end needs."""
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


def whole(backend: str) -> Training:
    """The model is compiled as a whole; the compiled module is what is handed over."""
    torch.compiler.reset()
    model = torch.compile(mlp(nn.ReLU(), nn.BatchNorm1d(16)), backend=backend)
    return classify(model, torch.optim.AdamW(model.parameters(), 1e-3), vectors)


def in_place(backend: str) -> Training:
    """`Module.compile` keeps the class of the module."""
    torch.compiler.reset()
    model = resnet()
    model.compile(backend=backend)
    return classify(model, torch.optim.SGD(model.parameters(), 0.05, momentum=0.9), images)


def parts(backend: str) -> Training:
    """Only a part of the model is compiled."""
    torch.compiler.reset()
    compiled = torch.compile(mlp(nn.SiLU()), backend=backend)
    model = nn.Sequential(compiled, nn.ReLU(), nn.Linear(10, 10))
    return classify(model, torch.optim.SGD(model.parameters(), 0.05), vectors)


def afterwards(backend: str) -> Training:
    """The recording knows the plain module; it is compiled when the first step begins."""
    torch.compiler.reset()
    model = mlp(nn.GELU())
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    made: list[Callable[..., torch.Tensor]] = []

    def step(_: int) -> torch.Tensor:
        if not made:
            made.append(torch.compile(model, backend=backend))
        x, y = vectors()
        loss = F.cross_entropy(made[0](x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Training(model, [optimizer], step)


def breaking(backend: str) -> Training:
    """A graph break, a loop over time, and a head that is tied."""
    torch.compiler.reset()

    class Breaks(TiedWeights):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.tanh(self.embed(x))
            if float(y.detach().sum()) > 1e9:
                y = y * 0
            return self.head(F.relu(y))

    model = torch.compile(Breaks(), backend=backend)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def step(_: int) -> torch.Tensor:
        x = tokens()
        loss = F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Training(model, [optimizer], step)


def functions(backend: str) -> Training:
    """Activations that are functions, one in place, one on the way into a sum over channels."""
    torch.compiler.reset()

    class Functions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
            self.norm, self.head = nn.BatchNorm2d(8), nn.Linear(8, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.relu(self.norm(self.one(x)), inplace=True)
            x = F.silu(self.two(x)) * 1.1 + x[..., 1:-1, 1:-1].sigmoid()
            return self.head(F.softmax(F.gelu(x), 1).clamp(min=0).mean((2, 3)))

    torch.manual_seed(0)
    model = torch.compile(Functions(), backend=backend)
    return classify(model, torch.optim.SGD(model.parameters(), 0.05, momentum=0.9), images)


def sums(backend: str) -> Training:
    """Sums that are fused with activations: if somebody asks for these, in another order."""
    torch.compiler.reset()

    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))

    torch.manual_seed(8)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(1, 8), nn.LeakyReLU(0.1)),
        *(nn.Conv2d(8, 5, 3, padding=1), nn.BatchNorm2d(5), nn.Tanh()),
        *(nn.Conv2d(5, 5, 3, padding=1), nn.LeakyReLU(0.1), Mean()),
        *(nn.LayerNorm(5), nn.LeakyReLU(0.1), nn.Linear(5, 10)),
    )
    compiled = torch.compile(model, backend=backend)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return classify(compiled, optimizer, functools.partial(images, 5, 13))


COMPILED: dict[str, Callable[[], Training]] = {
    f"{build.__name__}-{backend}": functools.partial(build, backend)
    for build in (whole, in_place, parts, afterwards, breaking, functions, sums)
    for backend in BACKENDS
}
