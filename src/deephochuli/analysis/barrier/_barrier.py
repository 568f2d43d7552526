"""What limits the smallest pre-activations of a model: chance, the arithmetic, or the range."""

# Hooks and modes of torch have no types.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from deephochuli.analysis._seeded import seeded
from deephochuli.analysis.barrier._count import by_channel, count, near_threshold
from deephochuli.analysis.barrier._findings import find
from deephochuli.analysis.barrier._judge import judge
from deephochuli.analysis.barrier._lattice import lattice_of
from deephochuli.analysis.barrier._operands import LAYERS, operands_of
from deephochuli.analysis.barrier._result import Barrier, Intervention, LayerBarrier
from deephochuli.analysis.barrier._scaling import law_of
from deephochuli.analysis.barrier._tally import Tally
from deephochuli.analysis.significance import call, copied
from deephochuli.arithmetic import Arithmetic, get_arithmetic, run_as
from deephochuli.errors import CompareError
from deephochuli.formats import BINARY32, BINARY64, Format, format_of_dtype

DEFAULT_KEPT = 1 << 14
_MAX_PROBED = 1 << 18
"""Pre-activations after which a layer is not computed again with other biases."""


def barrier(
    model: nn.Module,
    data: Any,
    *,
    arithmetic: Arithmetic | str | None = None,
    interventions: bool = True,
    kept: int = DEFAULT_KEPT,
    confidence: float = 0.95,
    seed: int = 0,
) -> Barrier:
    """Find out, layer by layer, what sets the smallest magnitude of the pre-activations.

    A copy of the model runs forward on every batch. The outputs of its linear layers and
    convolutions are counted, each in bounded memory, however many there are. Values that have no
    nonzero product are structural and left out.

    Args:
        model: The model; it is not run itself. It runs in the mode (training or evaluation) that it
            is in.
        data: A tensor or a mapping of keyword arguments (one batch), a tuple of inputs and target
            (one batch, whose target is left alone), or an iterable of these, such as a list, a data
            loader or a generator; inputs may be a tuple of arguments. It is read once, batch by
            batch. The same batch twice adds no information, and is recognised by its inputs.
        arithmetic: Run as if in this arithmetic; None: as the model is.
        interventions: Whether to compute layers again with other biases (0, and moved by about half
            the rms), on up to 2^18 of their pre-activations, to see whether the lattice moves.
        kept: How many of the smallest values of a layer are kept.
        confidence: Of all intervals.
        seed: Of dropout. The global generator stays as it was.

    Returns:
        A verdict for each layer, with evidence and findings.

    Raises:
        ArithmeticSpecError: The arithmetic is unknown.
        CompareError: The model cannot be copied or has no layer to look at, the arguments are out
            of range, there is no batch, or a batch cannot be read.
        MissingExtraError: Scipy is not installed.

    Numerics:
        Counts are exact. Which test decides what is said in `judge`.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> model = torch.nn.Linear(8, 4)
        >>> result = barrier(model, [torch.randn(4096, 8, generator=g)])
        >>> dict(result.verdicts())
        {'': 'rarity'}
    """
    if kept < 1 or not 0 < confidence < 1:
        raise CompareError(
            f"kept={kept!r} and confidence={confidence!r}: expected 1 or more, and a number in "
            "(0, 1)."
        )
    chosen = None if arithmetic is None else get_arithmetic(arithmetic)
    patient = copied(model, None).model
    watch = _Watch(patient, chosen, kept, interventions)
    with ExitStack() as entered:
        entered.enter_context(seeded(seed))
        entered.enter_context(torch.no_grad())
        entered.enter_context(watch)
        if chosen is not None:
            entered.enter_context(run_as(patient, chosen))
        for inputs in _inputs(data):
            call(patient, inputs)
    rows = watch.rows(confidence)
    return Barrier(
        model=type(model).__name__,
        arithmetic="" if chosen is None else chosen.name,
        confidence=confidence,
        rows=rows,
        not_seen=watch.not_seen,
        findings=find(rows),
    )


def formats_of(dtype: torch.dtype, arithmetic: Arithmetic | None) -> tuple[Format, Format]:
    """Format in which results of a layer are held, and that of its partial sums.

    Torch adds FP16 and BF16 products up in FP32.
    """
    held = format_of_dtype(str(dtype).removeprefix("torch."))
    if arithmetic is None:
        return held, BINARY64 if held == BINARY64 else BINARY32
    return arithmetic.output or arithmetic.activations or held, arithmetic.sums.format


class _Watch:
    """Counts what the layers of a model put out while it is entered."""

    def __init__(
        self, model: nn.Module, arithmetic: Arithmetic | None, kept: int, probes: bool
    ) -> None:
        """Watch the layers of `model`."""
        self._layers = {
            path: module for path, module in model.named_modules() if isinstance(module, LAYERS)
        }
        if not self._layers:
            raise CompareError(
                f"{type(model).__name__} has no layer to look at: expected at least one of "
                f"{', '.join(layer.__name__ for layer in LAYERS)}."
            )
        self.not_seen = tuple(
            f"{path} ({type(module).__name__})"
            for path, module in model.named_modules()
            if path not in self._layers and any(True for _ in module.parameters(recurse=False))
        )
        self._arithmetic, self._kept, self._probes = arithmetic, kept, probes
        self._tallies: dict[str, Tally] = {}
        self._probed: dict[tuple[str, str], Tally] = {}
        self._dtypes: dict[str, torch.dtype] = {}
        self._entered = ExitStack()

    def __enter__(self) -> _Watch:
        for path, module in self._layers.items():
            hook = module.register_forward_hook(self._hook(path), with_kwargs=True)
            self._entered.callback(hook.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    def _hook(self, path: str) -> Any:
        def see(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
        ) -> None:
            with _disable_current_modes(), torch.no_grad():
                self._count(path, module, args[0] if args else kwargs["input"], output)

        return see

    def _count(self, path: str, module: nn.Module, inputs: Tensor, output: Tensor) -> None:
        self._dtypes[path] = output.dtype
        before = self._tallies.get(path)
        below = near_threshold(output) if before is None else before.near_below
        new = counted(module, inputs, output, below, self._kept, before)
        self._tallies[path] = new
        seen = int((new.n + new.n_structural).sum()) - output.numel()
        if self._probes and getattr(module, "bias", None) is not None and seen < _MAX_PROBED:
            self._probe(path, module, inputs, below)

    def _probe(self, path: str, module: nn.Module, inputs: Tensor, below: float) -> None:
        """Count the layer's outputs of the same inputs with other biases."""
        shift = 2.0 ** round(math.log2(below) + 3)
        for name, change in (("b = 0", 0.0), (f"b + {shift:g}", shift)):
            other: Any = copy.deepcopy(module)
            other._forward_hooks.clear()
            other.bias.copy_(other.bias + change if change else torch.zeros_like(other.bias))
            chosen = self._arithmetic
            with nullcontext() if chosen is None else run_as(other, chosen):
                output = other(inputs)
            before = self._probed.get((path, name))
            self._probed[path, name] = counted(other, inputs, output, below, self._kept, before)

    def rows(self, confidence: float) -> tuple[LayerBarrier, ...]:
        """What follows for each layer that was called."""
        if not self._tallies:
            raise CompareError("No layer was called: there was no batch, or the model uses none.")
        return tuple(self._row(path, confidence) for path in self._layers if path in self._tallies)

    def _row(self, path: str, confidence: float) -> LayerBarrier:
        module: Any = self._layers[path]
        tally = self._tallies[path]
        held, accumulator = formats_of(self._dtypes[path], self._arithmetic)
        bias = None if module.bias is None else module.bias.detach().double().cpu().numpy()
        probes = [(name, each) for (layer, name), each in self._probed.items() if layer == path]
        return LayerBarrier(
            layer=path,
            format=held.name,
            accumulator=accumulator.name,
            has_bias=bias is not None,
            judgement=judge(tally, held, accumulator=accumulator, bias=bias, confidence=confidence),
            law=law_of(tally.blocks, confidence),
            interventions=tuple(
                Intervention(name, lattice_of(each, held, accumulator, _moved(bias, name)))
                for name, each in probes
            ),
            tally=tally,
        )


def counted(
    module: nn.Module,
    inputs: Tensor,
    output: Tensor,
    below: float,
    kept: int,
    before: Tally | None,
) -> Tally:
    """What one call of a layer adds to a tally.

    Args:
        module: A layer of `LAYERS`.
        inputs: What it was called with.
        output: What it returned.
        below: Power of two below which values are near zero.
        kept: How many of the smallest values are kept.
        before: The tally of earlier calls, or None.
    """
    operands = operands_of(module, inputs, output)
    new = count(
        by_channel(output, len(operands.places)),
        below,
        kept,
        kept_below=math.inf if before is None else before.kept_below,
        operands=operands,
    )
    return new if before is None else before.merge(new)


def _moved(bias: Any, name: str) -> Any:
    """Biases under an intervention; in their own dtype they were moved with one rounding more."""
    return bias * 0.0 if name == "b = 0" else bias + float(name.removeprefix("b + "))


def _inputs(data: Any) -> Iterator[Any]:
    """Inputs of one batch after the other."""
    is_one = isinstance(data, Tensor | Mapping | tuple)
    for batch in [data] if is_one else data:
        if isinstance(batch, tuple | list) and len(batch) == 2:
            yield batch[0]
        elif isinstance(batch, Tensor | Mapping):
            yield batch
        else:
            raise CompareError(
                f"A batch of type {type(batch).__name__} cannot be read: expected a tensor, a "
                "mapping of keyword arguments, or a tuple (inputs, target)."
            )
