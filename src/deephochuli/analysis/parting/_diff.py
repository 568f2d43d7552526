"""Where and when recorded runs part from each other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from deephochuli.analysis import findings
from deephochuli.analysis._finding import Finding
from deephochuli.analysis.parting._align import align
from deephochuli.analysis.parting._environment import are_replicates, changes, sums_are_alike
from deephochuli.analysis.parting._judge import TapParting, judge
from deephochuli.analysis.parting._pair import RunPair
from deephochuli.analysis.parting._result import Curve, Parting
from deephochuli.analysis.parting._rows import RunRows, read_rows
from deephochuli.analysis.parting._training import finding_changes, losses_of, settings_of
from deephochuli.errors import CompareError, near_matches
from deephochuli.store import RunReader, open_run

MOST_RUNS: Final = 8
Source = str | os.PathLike[str] | RunReader


def diff(
    runs: Sequence[Source],
    *,
    names: Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
    replicates: Sequence[str] | None = None,
) -> Parting:
    """Say where (layer, quantity, direction) and when (step) recorded runs part.

    Runs are aligned by layer, quantity and step, and each is laid beside the first: the first
    step at which anything recorded differs, and the first from which on the histograms are
    further apart than is ordinary. Layers that cannot be aligned are listed.

    Args:
        runs: Two to eight run folders or open runs; the first is the reference.
        names: What to call them; the names of their folders by default.
        rename: Names of layers in the other runs, or beginnings of names, with those in the
            reference: ``{"module.": ""}``.
        replicates: Names of runs that repeat the reference with other chances (seed, threads):
            how far they are from it says what is ordinary. By default those whose manifests,
            learning rates and loss scales differ in nothing else; an empty sequence for none.

    Returns:
        The parting, with findings and a sheet.

    Raises:
        CompareError: There are fewer than two runs, or more than eight; names are not as many, or
            not different; a name is unknown; a renaming fits nothing.
        StoreError: A run cannot be opened.

    Numerics:
        Differences are exact: of counts, extremes and correctly rounded sums. See `judge` for what
        counts as ordinary.

    Example:
        >>> import tempfile, torch, deephochuli as dh
        >>> def train(folder, rate):
        ...     torch.manual_seed(0)
        ...     model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU())
        ...     optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        ...     with dh.record(model, optimizer, to=folder):
        ...         for _ in range(3):
        ...             model(torch.ones(1, 2)).sum().backward()
        ...             optimizer.step()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     train(f"{folder}/a", 0.5)
        ...     train(f"{folder}/b", 0.25)
        ...     first = diff([f"{folder}/a", f"{folder}/b"]).pairs[0].first
        >>> first.first_step, first.quantity, first.direction
        (0, 'dw', 'parameters')
    """
    readers = [run if isinstance(run, RunReader) else open_run(run) for run in runs]
    called = tuple(names) if names is not None else _names([run.path for run in readers])
    _check(readers, called, replicates)
    rows = read_rows(*readers)
    found = [findings(run) for run in readers]
    repeats = _replicates(readers, called, replicates)
    pairs: list[RunPair] = []
    for index in range(1, len(readers)):
        judges = _judges(readers, index, repeats, are_named=replicates is not None)
        pairs.append(_pair(readers, called, rows, found, index, judges, rename or {}))
    curves = [_curve(run, name) for run, name in zip(readers, called, strict=True)]
    everything = changes([run.manifest for run in readers])
    return Parting(called, tuple(pairs), everything, tuple(curves))


def _check(
    readers: Sequence[RunReader], names: Sequence[str], replicates: Sequence[str] | None
) -> None:
    n = len(readers)
    if not 2 <= n <= MOST_RUNS:
        raise CompareError(f"Runs are compared with the first: give 2 to {MOST_RUNS}; got {n}.")
    if len(names) != n or len(set(names)) != n:
        raise CompareError(f"Expected {n} different names, one a run; got {list(names)}.")
    for name in replicates or ():
        if name not in names:
            raise CompareError(f"No run is called {name!r}. {near_matches(name, names)}")


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    """Names of folders: the last part, with as many parents as it takes to tell them apart."""
    for depth in range(1, 5):
        names = tuple("/".join(path.resolve().parts[-depth:]) for path in paths)
        if len(set(names)) == len(names):
            return names
    return tuple(f"{path.name} ({number})" for number, path in enumerate(paths, start=1))


def _replicates(
    readers: Sequence[RunReader], names: Sequence[str], given: Sequence[str] | None
) -> list[int]:
    """Runs that repeat the reference."""
    if given is not None:
        return [index for index in range(1, len(names)) if names[index] in given]
    first = readers[0]
    return [
        index
        for index, run in enumerate(readers)
        if index and are_replicates(first.manifest, run.manifest) and not settings_of(first, run)
    ]


def _judges(
    readers: Sequence[RunReader], index: int, repeats: Sequence[int], *, are_named: bool
) -> list[int]:
    """The replicates that say what is ordinary for one run.

    What is ordinary for another seed is not told by runs of the same seed, which may be equal.
    """
    seeds = [run.manifest.seed for run in readers]
    others = [i for i in repeats if i != index]
    if are_named or seeds[index] == seeds[0]:
        return others
    return [i for i in others if seeds[i] != seeds[0]]


def _pair(
    readers: Sequence[RunReader],
    names: Sequence[str],
    rows: Sequence[RunRows],
    found: Sequence[list[Finding]],
    index: int,
    judges: Sequence[int],
    rename: Mapping[str, str],
) -> RunPair:
    """One run beside the reference; replicates say what is ordinary, if there are any."""
    one, other = readers[0], readers[index]
    aligned = align(rows[0], rows[index], rename)
    with_sums = sums_are_alike(one.manifest, other.manifest)
    taps: list[TapParting] = []
    for key, other_key in aligned.keys:
        place = rows[0][key]
        null = [(place, rows[i][key]) for i in judges if key in rows[i]]
        tap = judge(place, rows[index][other_key], null, with_sums=with_sums)
        taps += [] if tap is None else [tap]
    steps = np.intersect1d(one.steps["step"], other.steps["step"])
    return RunPair(
        reference=names[0],
        other=names[index],
        steps=tuple(steps.tolist()),
        n_alone=(len(one.steps["step"]) - len(steps), len(other.steps["step"]) - len(steps)),
        taps=tuple(sorted(taps, key=_when)),
        parameters=_parameters(rows[0]),
        unaligned=aligned.unaligned,
        changes=changes([one.manifest, other.manifest]),
        settings=settings_of(one, other),
        losses=losses_of(one, other),
        findings=finding_changes(found[0], found[index]),
        replicates=(names[0], *(names[i] for i in judges)) if judges else (),
        with_sums=with_sums,
    )


def _when(tap: TapParting) -> tuple[bool, int, tuple[int, int, int]]:
    """Sorts what parts first before the rest, and what never parts last."""
    return tap.first_step is None, tap.first_step or 0, tap.place_in_step


def _parameters(rows: RunRows) -> tuple[tuple[int, str], ...]:
    found = {tap.layer: tap.order for tap in rows.infos() if tap.quantity in {"w", "g"}}
    return tuple(sorted((order, layer) for layer, order in found.items()))


def _curve(run: RunReader, name: str) -> Curve:
    told = run.steps["has_loss"]
    steps, losses = run.steps["step"][told], run.steps["loss"][told]
    return Curve(name, tuple(steps.tolist()), tuple(losses.tolist()))
