"""What benchmarks/gpu.py trains, and how it takes the time on a device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

Call = Callable[[], object]


@dataclass
class Trained:
    """A model under BF16 autocast, its optimizer, and one batch on the device."""

    name: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    batch: dict[str, torch.Tensor]

    @property
    def device(self) -> torch.device:
        """Where the batch lies, and the model."""
        return next(iter(self.batch.values())).device

    def step(self) -> None:
        """One training step; nothing in it waits for the device."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            loss = self.model(**self.batch).loss
        loss.backward()
        self.optimizer.step()

    def run(self, n_steps: int) -> None:
        """Several steps."""
        for _ in range(n_steps):
            self.step()


def resnet50(device: torch.device, quick: bool) -> Trained:
    """ResNet-50 of `transformers`, 256 images of 224 x 224, channels last, SGD with momentum."""
    from transformers import ResNetConfig, ResNetForImageClassification

    sizes: dict[str, Any] = {"num_labels": 1000}
    if quick:
        sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 10}
    torch.manual_seed(0)
    model = ResNetForImageClassification(ResNetConfig(**sizes))
    model = model.to(device, memory_format=torch.channels_last).train()
    n_images, side = (2, 32) if quick else (256, 224)
    draw = torch.Generator(device).manual_seed(1)
    images = torch.randn(n_images, 3, side, side, generator=draw, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(sizes["num_labels"], (n_images,), generator=draw, device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return Trained("ResNet-50", model, optimizer, {"pixel_values": images, "labels": labels})


def gpt2(device: torch.device, quick: bool) -> Trained:
    """GPT-2 (124M) of `transformers`, 8 sequences of 1,024 tokens, fused AdamW."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes: dict[str, Any] = {}
    if quick:
        sizes = {"n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": 128, "n_positions": 32}
    torch.manual_seed(0)
    config = GPT2Config(use_cache=False, **sizes)
    model = GPT2LMHeadModel(config).to(device).train()
    n_rows, length = (2, 32) if quick else (8, 1024)
    draw = torch.Generator(device).manual_seed(1)
    tokens = torch.randint(config.vocab_size, (n_rows, length), generator=draw, device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    return Trained("GPT-2", model, optimizer, {"input_ids": tokens, "labels": tokens})


TRAINED: dict[str, Callable[[torch.device, bool], Trained]] = {"resnet50": resnet50, "gpt2": gpt2}


@dataclass(frozen=True)
class Clock:
    """Seconds of work on a device: by its events, or by the wall clock on a CPU."""

    device: torch.device

    @property
    def is_cuda(self) -> bool:
        """Whether there are events to ask."""
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Wait until the device has done everything."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def block(self, call: Call, *, is_ahead: bool = False) -> tuple[float, float]:
        """Seconds between two events around a call, and wall clock until the device is done.

        With `is_ahead` the device is kept busy first, so that it need not wait for the host's
        preparations between the events.
        """
        self.wait()
        start = time.perf_counter()
        if not self.is_cuda:
            call()
            wall = time.perf_counter() - start
            return wall, wall
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        if is_ahead:
            torch.cuda._sleep(2_000_000)  # about a millisecond; torch has no public name for it
        first.record()
        call()
        last.record()
        self.wait()
        return first.elapsed_time(last) / 1e3, time.perf_counter() - start

    def median(self, call: Call, repeats: int) -> float:
        """Median seconds between events over some calls, after one to warm up."""
        call()
        return statistics.median(self.block(call, is_ahead=True)[0] for _ in range(repeats))

    def median_wall(self, call: Call, repeats: int) -> float:
        """Median wall clock until the device is done."""
        call()
        return statistics.median(self.block(call)[1] for _ in range(repeats))


@dataclass
class Table:
    """A table that is printed line by line as it is measured."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    notes: list[str] = field(default_factory=list[str])

    def begin(self) -> Table:
        """Print what stands above the rows."""
        print("\n".join(["", *self.lines()]), flush=True)
        return self

    def add(self, *cells: object) -> None:
        """Print one line."""
        self.rows.append(tuple(map(str, cells)))
        print(line_of(self.rows[-1]), flush=True)

    def note(self, text: str) -> None:
        """Print a remark to be kept below the table."""
        self.notes.append(text)
        print(f"({text})", flush=True)

    def lines(self) -> list[str]:
        """The whole table in Markdown."""
        body = [line_of(self.head), line_of(["---"] * len(self.head)), *map(line_of, self.rows)]
        return [
            f"### {self.title}",
            "",
            *body,
            *[text for note in self.notes for text in ("", note)],
        ]


def line_of(cells: Any) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


class Budget:
    """Seconds that a part may take; it leaves out what comes after."""

    def __init__(self, seconds: float) -> None:
        """Begin to count."""
        self._end = time.monotonic() + seconds

    def shares(self, n: int) -> Iterator[Budget]:
        """Divide what is left equally among so many pieces of work, asked for one by one."""
        for number in range(n):
            yield Budget((self._end - time.monotonic()) / (n - number))

    @property
    def is_spent(self) -> bool:
        """Whether nothing more should begin."""
        return time.monotonic() > self._end


@contextmanager
def timed_functions(homes: dict[str, tuple[Any, str]]) -> Iterator[dict[str, list[float]]]:
    """Replace functions by ones that add up their calls and seconds; put them back at the end."""
    taken: dict[str, list[float]] = {name: [0, 0.0] for name in homes}
    kept = {name: getattr(home, attribute) for name, (home, attribute) in homes.items()}

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return kept[name](*args, **kwargs)
            finally:
                taken[name][0] += 1
                taken[name][1] += time.perf_counter() - start

        return call

    for name, (home, attribute) in homes.items():
        setattr(home, attribute, wrapped(name))
    try:
        yield taken
    finally:
        for name, (home, attribute) in homes.items():
            setattr(home, attribute, kept[name])
