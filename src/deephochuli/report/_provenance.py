"""What a run's manifest says, as labelled lines of text."""

from __future__ import annotations

import shlex
from collections import Counter
from importlib import metadata
from typing import Any

import numpy as np

from deephochuli.store import Manifest, RunReader


def generator() -> str:
    """Name and version of this package."""
    try:
        return f"deephochuli {metadata.version('deephochuli')}"
    except metadata.PackageNotFoundError:
        return "deephochuli"


def provenance_rows(run: RunReader) -> list[list[str]]:
    """Labels and values, in the order in which people ask for them; empty values are left out."""
    manifest = run.manifest
    rows: list[tuple[str, str]] = [
        ("command", shlex.join(manifest.command)),
        ("model", _model(manifest)),
        ("optimizer", _optimizer(manifest)),
        ("parameters stored as", _dtypes(manifest)),
        ("device", manifest.device),
        ("threads", "" if manifest.n_threads is None else str(manifest.n_threads)),
        *((f"flag {name}", _text(value)) for name, value in sorted(manifest.flags.items())),
        ("seed", "" if manifest.seed is None else str(manifest.seed)),
        ("schedule", manifest.schedule),
        ("selection", manifest.selection),
        ("recorded", _recorded(run)),
        ("began", manifest.created.strftime("%Y-%m-%d %H:%M UTC")),
        ("training time", _duration(run)),
        ("platform", manifest.platform),
        *((f"{name} version", version) for name, version in sorted(manifest.versions.items())),
        *((name, _text(value)) for name, value in sorted(manifest.extra.items())),
        ("run folder", run.path.name),
    ]
    return [[label, value] for label, value in rows if value]


def _text(value: Any) -> str:
    """A switch or a number as a word."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "unknown" if value is None else str(value)


def _model(manifest: Manifest) -> str:
    """Class and size of the model."""
    model = manifest.model
    if not model.class_name:
        return ""
    return f"{model.class_name}, {model.n_parameters:,} parameters in {model.n_modules} modules"


def _optimizer(manifest: Manifest) -> str:
    """Class and plain hyperparameters of the optimizer's first group."""
    if manifest.optimizer is None:
        return ""
    group = manifest.optimizer.groups[0] if manifest.optimizer.groups else {}
    plain = {name: value for name, value in group.items() if isinstance(value, int | float)}
    settings = ", ".join(f"{name}={value}" for name, value in plain.items() if name != "params")
    return f"{manifest.optimizer.class_name}({settings})"


def _dtypes(manifest: Manifest) -> str:
    """Dtypes of the parameters, the commonest first."""
    counts = Counter(manifest.dtypes.values())
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{dtype} ({count})" for dtype, count in counts.most_common())


def _recorded(run: RunReader) -> str:
    """How many steps were recorded, and over which range."""
    steps = run.steps["step"]
    if len(steps) == 0:
        return ""
    first, last = int(steps[0]), int(steps[-1])
    return f"{len(steps)} steps between {first} and {last} of {last + 1} trained"


def _duration(run: RunReader) -> str:
    """Wall time from the first to the last recorded step."""
    wall = run.steps["wall_s"]
    if len(wall) == 0 or not np.isfinite(wall[-1]):
        return ""
    return f"{float(wall[-1]):.3g} s until the last recorded step"
