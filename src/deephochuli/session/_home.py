"""The folder that the runs of a session lie in, chosen when the first model is found."""

# The store that ranks meet in has no public name.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from deephochuli.errors import StoreError

MOST: Final = 1000
_KEY: Final = "deephochuli/home"


class Home:
    """A folder of its own for the runs of one session.

    A session that trains nothing leaves no folder. One that goes on with a run lives where that
    lies. Nothing is written over: where there is something, the name gets a number.
    """

    def __init__(self, wanted: Path, *, is_given: bool = False, is_made: bool = False) -> None:
        """Say where.

        Args:
            wanted: The folder.
            is_given: Whether the user has named it, so that several ranks know it without a word.
            is_made: Whether it is there, empty, and for this session alone.
        """
        self._wanted = wanted.absolute()  # the script may change the working folder
        self._is_given = is_given
        self._path = self._wanted if is_made else None

    def __call__(self) -> Path:
        """The folder; made now if it was not chosen yet.

        Raises:
            StoreError: No folder can be made, or several ranks cannot agree on one.
        """
        if self._path is None:
            self._path = self._chosen()
        return self._path

    def go_on_in(self, folder: Path) -> None:
        """Live where an earlier session has, unless there is a folder already."""
        if self._path is None:
            self._path = folder

    def leave(self) -> None:
        """Take the folder away if nothing is in it."""
        if self._path is not None:
            self._path.rmdir()

    def _chosen(self) -> Path:
        from deephochuli.record import rank_here

        if rank_here() is None:
            return _claimed(self._wanted)
        return self._wanted if self._is_given else _agreed(_free(self._wanted))


def default_home(name: str) -> Home:
    """A home named after a script and the time."""
    return Home(Path("runs") / f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}")


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    yield from (path.with_name(f"{path.name}-{number}") for number in range(2, MOST))


def _claimed(wanted: Path) -> Path:
    """Make the first folder of its name that is new or empty."""
    for path in _numbered(wanted):
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if not path.is_dir() or any(path.iterdir()):
                continue
        except OSError as error:
            raise StoreError(f"No runs can be written to {path}: {error}.") from error
        return path
    raise StoreError(f"{wanted} and {MOST - 2} folders numbered after it are all in use.")


def _free(wanted: Path) -> Path:
    return next((path for path in _numbered(wanted) if not path.exists()), wanted)


def _agreed(proposed: Path) -> Path:
    """The proposal of the rank that came first. No rank waits for another one.

    Raises:
        StoreError: There is no process group to agree in.
    """
    import torch.distributed as dist

    if not dist.is_initialized():
        raise StoreError(
            "Several ranks need one folder, and without a process group each would choose its own. "
            "Name it for all of them: to = 'runs/NAME' in the table [record] of deephochuli.toml."
        )
    store: Any = dist.distributed_c10d._get_default_store()
    first: bytes = store.compare_set(_KEY, "", os.fspath(proposed))
    return Path(first.decode())
