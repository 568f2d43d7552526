"""What is compared: ways of looking at a training run, each as a context around the loop.

A contender gets model, optimizer and an empty folder; it yields what the user has to call after
each step. None of them is handicapped: each does what its documentation or common practice says.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

AfterStep = Callable[[], None]
Look = Callable[
    [nn.Module, torch.optim.Optimizer, Path], contextlib.AbstractContextManager[AfterStep]
]
SeeTensor = Callable[[str, torch.Tensor], None]


def nothing() -> None:
    """What most contenders ask the user to add to the loop."""


@dataclass(frozen=True)
class Contender:
    """One way of looking.

    Attributes:
        label: Name in the table.
        look: Context around the training loop.
        needs: Module without which it cannot run.
        block: Steps per measured block: a whole cycle of its schedule.
    """

    label: str
    look: Look
    needs: str = "torch"
    block: int = 1

    def missing(self) -> str | None:
        """Why this contender cannot run here, or None."""
        try:
            importlib.import_module(self.needs)
        except ImportError as error:
            return f"{self.needs} cannot be imported: {error}"
        return None


@contextlib.contextmanager
def plain(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> Iterator[AfterStep]:
    """The training loop alone."""
    del model, optimizer, folder
    yield nothing


def recording(**options: object) -> Look:
    """DeepHochuli with these arguments of `deephochuli.record`."""

    @contextlib.contextmanager
    def look(
        model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path
    ) -> Iterator[AfterStep]:
        import deephochuli

        with deephochuli.record(model, optimizer, to=folder / "run", **options):  # type: ignore[arg-type]
            yield nothing

    return look


@contextlib.contextmanager
def everything(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path
) -> Iterator[AfterStep]:
    """DeepHochuli with every quantity that it knows, at every step."""
    import deephochuli
    from deephochuli.taps import QUANTITIES

    select = deephochuli.Selection(quantities=QUANTITIES)
    with deephochuli.record(model, optimizer, to=folder / "run", select=select):
        yield nothing


def never(step: int) -> bool:
    """Schedule that records no step."""
    del step
    return False


@contextlib.contextmanager
def underflow_overflow(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path
) -> Iterator[AfterStep]:
    """DebugUnderflowOverflow of Hugging Face transformers: minimum and maximum of all tensors."""
    del optimizer, folder
    from transformers.debug_utils import DebugUnderflowOverflow

    DebugUnderflowOverflow(model)
    yield nothing


@contextlib.contextmanager
def wandb_watch(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path
) -> Iterator[AfterStep]:
    """Weights & Biases: histograms of weights and gradients at every step, kept offline."""
    del optimizer
    os.environ["WANDB_SILENT"] = "true"
    import wandb

    run = wandb.init(mode="offline", dir=str(folder), project="overhead")
    run.watch(model, log="all", log_freq=1)
    yield lambda: run.log({})
    run.finish()


@contextlib.contextmanager
def by_hand(
    see: SeeTensor, model: nn.Module, optimizer: torch.optim.Optimizer
) -> Iterator[AfterStep]:
    """Hooks as people write them: outputs and their gradients, weights, gradients, updates."""

    def on_output(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
            see(f"{name}.out", output.detach())
            if output.requires_grad:
                output.register_hook(lambda grad: see(f"{name}.grad", grad))

        return hook

    leaves = [(n, m) for n, m in model.named_modules() if not list(m.children())]
    handles = [module.register_forward_hook(on_output(name)) for name, module in leaves]
    before: dict[str, torch.Tensor] = {}

    def ahead(*_: object) -> None:
        before.update({n: p.detach().clone() for n, p in model.named_parameters()})

    def behind(*_: object) -> None:
        for name, parameter in model.named_parameters():
            see(f"{name}.w", parameter.detach())
            see(f"{name}.update", parameter.detach() - before[name])
            if parameter.grad is not None:
                see(f"{name}.dw", parameter.grad)

    handles += [optimizer.register_step_pre_hook(ahead), optimizer.register_step_post_hook(behind)]
    yield nothing
    for handle in handles:
        handle.remove()


@contextlib.contextmanager
def summary_by_hand(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path
) -> Iterator[AfterStep]:
    """A histogram and four moments per tensor, each brought over by ``.item()``."""
    del folder
    rows: list[tuple[str, list[float]]] = []

    def see(name: str, tensor: torch.Tensor) -> None:
        x = tensor.float()
        moments = [x.mean().item(), x.std().item(), x.min().item(), x.max().item()]
        rows.append((name, moments + torch.histc(x, 64).tolist()))

    with by_hand(see, model, optimizer) as after_step:
        yield after_step


@contextlib.contextmanager
def exponents_by_hand(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path
) -> Iterator[AfterStep]:
    """Counts of the binary exponents of each tensor, by stock torch operations."""
    del folder
    totals: dict[str, torch.Tensor] = {}

    def see(name: str, tensor: torch.Tensor) -> None:
        bits = tensor.contiguous().view(torch.int32).flatten()
        counts = torch.bincount((bits >> 23) & 0xFF, minlength=256)
        totals[name] = totals[name] + counts if name in totals else counts

    with by_hand(see, model, optimizer) as after_step:
        yield after_step


def emulated(arithmetic: str) -> Look:
    """The training loop as if in an arithmetic."""

    @contextlib.contextmanager
    def look(
        model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path
    ) -> Iterator[AfterStep]:
        from deephochuli.arithmetic import run_as

        del optimizer, folder
        with run_as(model, arithmetic):
            yield nothing

    return look


CONTENDERS: dict[str, Contender] = {
    "noise": Contender("plain again (noise floor)", plain),
    "never": Contender(
        "deephochuli, attached, no step recorded", recording(every=never), "deephochuli"
    ),
    "every10": Contender(
        "deephochuli, every 10th step", recording(every=10), "deephochuli", block=10
    ),
    "every20": Contender(
        "deephochuli, every 20th step", recording(every=20), "deephochuli", block=20
    ),
    "every1": Contender("deephochuli, every step", recording(every=1), "deephochuli"),
    "all1": Contender("deephochuli, every step, da as well", everything, "deephochuli"),
    "as-tf32": Contender("deephochuli, run as TF32 (operands rounded)", emulated("tf32")),
    "as-bf16": Contender("deephochuli, run as BF16 (all results rounded)", emulated("bf16")),
    "as-fp16-sums": Contender("deephochuli, run as FP16 sums", emulated("fp16-sequential")),
    "wandb": Contender("wandb.watch(log='all', log_freq=1), offline", wandb_watch, "wandb"),
    "summary": Contender("by hand: histc, mean, std, min, max", summary_by_hand),
    "exponents": Contender("by hand: torch.bincount of exponents", exponents_by_hand),
    "hf": Contender(
        "transformers DebugUnderflowOverflow", underflow_overflow, "transformers.debug_utils"
    ),
}

COMPILED = ("noise", "never", "every20", "every1", "all1")
"""What can be compared where the model is compiled: hooks of the others break the graph."""
