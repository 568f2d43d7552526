"""``deephochuli compare``: which layer an arithmetic or another machine changes first, and why."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from deephochuli.cli import _compare_options as options
from deephochuli.cli._comparison_output import (
    Results,
    is_found,
    print_results,
    write_page,
)
from deephochuli.cli._report import FOUND
from deephochuli.errors import CompareError, DeepHochuliError

if TYPE_CHECKING:
    from deephochuli.analysis.compare import (
        Comparison,
        Executor,
        Trace,
    )

DEFAULT: Final = ("fp32", "tf32", "bf16")
GIB: Final = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for."""

    things: list[str]
    arithmetics: list[str]
    reference: str
    suspect: str | None
    low: str | None
    output_budget: float
    gradient_budget: float
    save: Path | None
    execution: str | None
    model: str | None
    seed: int
    max_bytes: int


def compare(
    things: options.Things,
    arithmetics: options.Arithmetics = None,
    reference: options.Reference = "fp64",
    verdict: options.Suspect = None,
    keep: options.Low = None,
    output_budget: options.OutputBudget = 1e-2,
    gradient_budget: options.GradientBudget = 5e-2,
    save: options.SaveTo = None,
    execution: options.Execution = None,
    model: options.Model = None,
    html: options.Page = None,
    title: options.Title = None,
    show_all: options.ShowAll = False,
    fail_on: options.Fail = None,
    seed: options.Seed = 0,
    max_gib: options.MaxGib = 8.0,
    as_json: options.AsJson = False,
) -> None:
    """Which layers an arithmetic changes, and which one starts it."""
    request = Request(
        things=things,
        arithmetics=arithmetics or [],
        reference=reference,
        suspect=verdict,
        low=keep,
        output_budget=output_budget,
        gradient_budget=gradient_budget,
        save=save,
        execution=execution,
        model=model,
        seed=seed,
        max_bytes=int(max_gib * GIB),
    )
    _check(request)
    if save is not None:
        _save(request, save)
        return
    results = _of_folders(request) if len(things) == 2 else _of_model(request)
    print_results(results, show_all=show_all, as_json=as_json)
    write_page(results, html, title, quiet=as_json)
    if fail_on and is_found(results, fail_on):
        raise typer.Exit(FOUND)


def _check(request: Request) -> None:
    """Refuse options that contradict each other."""
    n, saves = len(request.things), request.save is not None
    asks = bool(request.arithmetics or request.suspect or request.low)
    for is_wrong, message in (
        (n > 2, f"compare takes a model, or two saved executions; got {n} names."),
        (saves and n > 1, "--save takes one model; got two names."),
        (saves and asks, "--save executes once: give --as, and none of -a, --verdict, --keep."),
        (request.execution and not saves, "--as goes with --save; with a model use -a."),
        (request.model and n != 2, "--model goes with two saved executions."),
        (
            n == 2 and asks,
            "Saved executions are as they are: -a, --verdict and --keep need a model.",
        ),
        (request.max_bytes <= 0, "--max-gib must be positive."),
    ):
        if is_wrong:
            raise CompareError(message)
    if n == 1 and Path(request.things[0]).is_dir():
        raise CompareError(
            f"{request.things[0]} is one folder; give two saved executions, or a model as "
            "module:callable or file.py:callable."
        )


def _save(request: Request, folder: Path) -> None:
    """Execute once and keep everything, for a comparison on another machine."""
    from deephochuli.analysis.compare import environment, execute
    from deephochuli.analysis.compare import save as write
    from deephochuli.cli._fingerprint import fingerprint
    from deephochuli.cli._task import executor_named, parts_of

    name = request.things[0]
    parts = parts_of(name)
    executor = executor_named(request.execution or "native")
    if folder.exists():
        raise CompareError(f"{folder} is there already; name a new folder.")
    with explained(name):
        trace = execute(parts.task(request.seed, request.max_bytes), executor)
    trace.environment = environment() | fingerprint(parts.model, parts.batch)
    path = write(trace, folder)
    typer.echo(f"Saved {len(trace.calls)} calls as {executor.name}: {path}")
    typer.echo(f"Save it on the other machine too, then: deephochuli compare {path} OTHER")


def _of_folders(request: Request) -> Results:
    from deephochuli.analysis.compare import compare_traces, load

    traces = [load(folder) for folder in request.things]
    for trace, name in zip(traces, _names(request.things), strict=True):
        trace.executor = f"{name} ({trace.executor})"
    results = Results()
    if request.model is not None:
        results.comparison = _judged(request, request.model, traces)
    results.pairs = compare_traces(*traces)
    return results


def _judged(request: Request, model: str, traces: list[Trace]) -> Comparison:
    """Two saved executions beside the reference, which runs here."""
    from deephochuli.analysis.compare import judge_recorded
    from deephochuli.cli._task import executor_named, parts_of

    parts = parts_of(model)
    with explained(model):
        task = parts.task(request.seed, request.max_bytes)
        return judge_recorded(task, traces, executor_named(request.reference))


def _names(folders: list[str]) -> list[str]:
    """Names of folders: the last part, or the whole path where these are equal."""
    names = [Path(folder).name for folder in folders]
    return names if len(set(names)) == len(names) else folders


def _of_model(request: Request) -> Results:
    from deephochuli.analysis import compare as analysis
    from deephochuli.cli._task import executor_named, parts_of

    name = request.things[0]
    parts = parts_of(name)
    suspect = executor_named(request.suspect) if request.suspect else None
    executors = _executors(request, suspect)
    reference = executor_named(request.reference)
    common: dict[str, Any] = {
        "reference": reference,
        "loss": parts.loss,
        "seed": request.seed,
        "max_bytes": request.max_bytes,
    }
    what = parts.model, parts.batch
    results = Results()
    with explained(name):
        results.comparison = analysis.compare(*what, executors, optimizer=parts.optimizer, **common)
        if suspect is not None:
            results.verdict = analysis.verdict(*what, suspect, optimizer=parts.optimizer, **common)
        if request.low is not None:
            budgets = {"output": request.output_budget, "gradient": request.gradient_budget}
            results.kept = analysis.keep_wide(*what, request.low, **budgets, **common)
    return results


def _executors(request: Request, suspect: Executor | None) -> list[Executor]:
    """What is compared: what was asked for, and what a verdict or a search is about."""
    from deephochuli.cli._task import executor_named

    asked = request.arithmetics
    if not asked:
        asked = [*DEFAULT] if suspect is None and request.low is None else ["fp32"]
    executors = [executor_named(name) for name in asked]
    names = [each.name for each in executors]
    if suspect is not None and suspect.name not in names:
        executors.append(suspect)
        names.append(suspect.name)
    if request.low is not None:
        low = executor_named(request.low)
        executors += [low] if low.name not in names else []
    return executors


@contextmanager
def explained(model: str) -> Generator[None]:
    """What the user's own code raises becomes one message."""
    try:
        yield
    except DeepHochuliError:
        raise
    except Exception as error:
        raise CompareError(
            f"Executing {model!r} failed: {type(error).__name__}: {error}. "
            "Add --debug to see the traceback."
        ) from error
