"""DeepHochuli: what floating-point arithmetic does to a neural network.

    import deephochuli as dh

    with dh.record(model, optimizer, to="runs/a", every=10):
        train()
    dh.report("runs/a")

    dh.compare(model, batch, ["fp32", "tf32", "bf16"])
    with dh.run_as(model, "fp16-accumulate-fp16"):
        model(batch)

    dh.pieces.count(model, x0, x1)

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from deephochuli._version import VERSION
from deephochuli.errors import (
    ArithmeticSpecError,
    CompareError,
    ConfigError,
    DeepHochuliError,
    DeepHochuliWarning,
    FormatError,
    MissingExtraError,
    NotRepresentableError,
    PiecesError,
    SchemaVersionError,
    SheetError,
    SketchError,
    StoreError,
    StudyError,
    TapError,
)

if TYPE_CHECKING:
    from inspect import Signature

    from deephochuli import pieces
    from deephochuli.analysis import Finding, findings, fit
    from deephochuli.analysis.backward import Backward, backward
    from deephochuli.analysis.barrier import Barrier, RunBarrier, barrier, barrier_of_run
    from deephochuli.analysis.compare import Comparison, Verdict, compare, keep_wide, verdict
    from deephochuli.analysis.death import Death, Lifelines, Revival, death, revival
    from deephochuli.analysis.doctor import Diagnosis, doctor
    from deephochuli.analysis.kink import Kink, kink, kink_at
    from deephochuli.analysis.parting import Parting, diff
    from deephochuli.analysis.reduction import Reduction, reduction
    from deephochuli.analysis.rounding_bias import RoundingBias
    from deephochuli.analysis.significance import Significance, significance
    from deephochuli.analysis.swamping import Swamping, swamping
    from deephochuli.arithmetic import (
        Arithmetic,
        StochasticKey,
        get_arithmetic,
        list_arithmetics,
        round_blocks,
        round_to,
        run_as,
    )
    from deephochuli.config import Config, read_config
    from deephochuli.formats import Format, Rounding, get_format, list_formats, round_scalar
    from deephochuli.record import (
        Recording,
        ReductionWatch,
        Watch,
        all_reduce_sketches,
        record,
        watch_reduction,
    )
    from deephochuli.report import build_report as report
    from deephochuli.report import print_findings
    from deephochuli.sketch import Sketch
    from deephochuli.store import RunReader, open_run
    from deephochuli.taps import Selection

__version__ = VERSION

__all__ = [
    "Arithmetic",
    "ArithmeticSpecError",
    "Backward",
    "Barrier",
    "CompareError",
    "Comparison",
    "Config",
    "ConfigError",
    "Death",
    "DeepHochuliError",
    "DeepHochuliWarning",
    "Diagnosis",
    "Finding",
    "Format",
    "FormatError",
    "Kink",
    "Lifelines",
    "MissingExtraError",
    "NotRepresentableError",
    "Parting",
    "PiecesError",
    "Recording",
    "Reduction",
    "ReductionWatch",
    "Revival",
    "Rounding",
    "RoundingBias",
    "RunBarrier",
    "RunReader",
    "SchemaVersionError",
    "Selection",
    "SheetError",
    "Significance",
    "Sketch",
    "SketchError",
    "StochasticKey",
    "StoreError",
    "StudyError",
    "Swamping",
    "TapError",
    "Verdict",
    "Watch",
    "__version__",
    "all_reduce_sketches",
    "backward",
    "barrier",
    "barrier_of_run",
    "compare",
    "death",
    "diff",
    "doctor",
    "findings",
    "fit",
    "get_arithmetic",
    "get_format",
    "keep_wide",
    "kink",
    "kink_at",
    "list_arithmetics",
    "list_formats",
    "open_run",
    "pieces",
    "print_findings",
    "read_config",
    "record",
    "reduction",
    "report",
    "revival",
    "round_blocks",
    "round_scalar",
    "round_to",
    "run_as",
    "significance",
    "swamping",
    "verdict",
    "watch_reduction",
]

_HOME: Final = {
    "Arithmetic": "arithmetic",
    "Backward": "analysis.backward",
    "Barrier": "analysis.barrier",
    "Comparison": "analysis.compare",
    "Config": "config",
    "Death": "analysis.death",
    "Diagnosis": "analysis.doctor",
    "Finding": "analysis",
    "Kink": "analysis.kink",
    "Format": "formats",
    "Lifelines": "analysis.death",
    "Parting": "analysis.parting",
    "Recording": "record",
    "Reduction": "analysis.reduction",
    "ReductionWatch": "record",
    "Revival": "analysis.death",
    "Rounding": "formats",
    "RunBarrier": "analysis.barrier",
    "RoundingBias": "analysis.rounding_bias",
    "RunReader": "store",
    "Selection": "taps",
    "Significance": "analysis.significance",
    "Sketch": "sketch",
    "StochasticKey": "arithmetic",
    "Swamping": "analysis.swamping",
    "Verdict": "analysis.compare",
    "Watch": "record",
    "all_reduce_sketches": "record",
    "backward": "analysis.backward",
    "barrier": "analysis.barrier",
    "barrier_of_run": "analysis.barrier",
    "compare": "analysis.compare",
    "death": "analysis.death",
    "diff": "analysis.parting",
    "doctor": "analysis.doctor",
    "findings": "analysis",
    "fit": "analysis",
    "get_arithmetic": "arithmetic",
    "get_format": "formats",
    "keep_wide": "analysis.compare",
    "kink": "analysis.kink",
    "kink_at": "analysis.kink",
    "list_arithmetics": "arithmetic",
    "list_formats": "formats",
    "open_run": "store",
    "print_findings": "report",
    "read_config": "config",
    "reduction": "analysis.reduction",
    "revival": "analysis.death",
    "round_blocks": "arithmetic",
    "round_scalar": "formats",
    "round_to": "arithmetic",
    "run_as": "arithmetic",
    "significance": "analysis.significance",
    "swamping": "analysis.swamping",
    "verdict": "analysis.compare",
    "watch_reduction": "record",
}
"""The part of the package in which each lazy name lives."""

_VERBS: Final = {"record": "record", "report": "build_report"}
"""Parts that bear the name of what they are for, and the function that calling them calls."""

_PARTS: Final = ("pieces",)
"""Parts that are public as they are: `deephochuli.pieces.count`."""


class _Verb(ModuleType):
    """A part that can be called: `deephochuli.record` is a package and a function.

    The import system binds a package to its name in its parent, whatever was there before, so a
    function of the same name would be there or not depending on who imported what first.
    """

    @property
    def _function(self) -> Any:
        return getattr(self, _VERBS[self.__name__.rpartition(".")[2]])

    @property
    def __signature__(self) -> Signature:
        """Signature of the function, for help and editors."""
        import inspect

        return inspect.signature(self._function)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the function that the part is named after."""
        return self._function(*arguments, **options)


class _Face(ModuleType):
    """The package itself, which makes a verb of each part that is one as it is bound."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _VERBS and type(value) is ModuleType:
            value.__class__ = _Verb
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face


def __getattr__(name: str) -> object:
    if name in _VERBS or name in _PARTS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
