"""Measured points on disk: one small JSON file a point, named by the hash of what it measured."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

from deephochuli.errors import StudyError
from deephochuli.studies._study import Point, Result

_MOST_BYTES: Final = 64 << 20
_FIELDS: Final = {"study", "version", "params", "values"}


class PointCache:
    """A folder of results, from which a study goes on wherever it was interrupted.

    A result is written under another name and renamed, so that it is there as a whole or not at
    all; the same point gives the same bytes, so two processes that measure it do no harm.

    Args:
        folder: Where the results are; made when the first one is written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def path(self, point: Point) -> Path:
        """The file of a point, whether it is there or not."""
        return self.folder / point.study / f"{point.id}.json"

    def get(self, point: Point) -> Result | None:
        """What was measured at a point, or None.

        Raises:
            StudyError: The file is there and is not the result of this point.
        """
        path = self.path(point)
        if not path.exists():
            return None
        record = _read(path)
        if Point(record["study"], record["version"], record["params"]).id != point.id:
            raise _foreign(path, "it holds another point")
        return Result(point.params, record["values"])

    def put(self, point: Point, values: Any) -> Result:
        """Keep what was measured at a point; returns it as a later `get` would.

        Raises:
            StudyError: The values are not a mapping that JSON can hold: a NaN, a tensor.
            OSError: The file cannot be written.
        """
        text = _as_text(point, values)
        path = self.path(point)
        draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_text(text, encoding="utf-8", newline="\n")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return Result(point.params, json.loads(text)["values"])

    def __iter__(self) -> Iterator[Path]:
        """The files of all results."""
        return iter(sorted(self.folder.glob("*/*.json")))


def _read(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MOST_BYTES:
        raise _foreign(path, "it is too large")
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _foreign(path, f"it is not JSON ({error})") from error
    if not isinstance(record, dict) or set(cast("dict[str, Any]", record)) != _FIELDS:
        raise _foreign(path, "it has other fields than study, version, params and values")
    return cast("dict[str, Any]", record)


def _as_text(point: Point, values: Any) -> str:
    record = {
        "study": point.study,
        "version": point.version,
        "params": dict(point.params),
        "values": values,
    }
    try:
        return json.dumps(record, sort_keys=True, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise StudyError(
            f"Study {point.study!r} measured something that cannot be kept at "
            f"{dict(point.params)}: {error}. A measurement returns a mapping of texts, integers, "
            "finite numbers, lists and mappings; what was not measured is None."
        ) from error


def _foreign(path: Path, why: str) -> StudyError:
    return StudyError(
        f"{path} is not the result of a study's point: {why}. Delete the file, and it is measured "
        "again; or name another folder."
    )
