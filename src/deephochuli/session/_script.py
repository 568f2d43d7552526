"""Which script this process runs, and what to call it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Script:
    """What to run.

    Attributes:
        target: Path of a script, as the user wrote it, or name of a module.
        arguments: The words that belong to the script.
        is_module: Whether `target` is the name of a module, as after ``python -m``.
    """

    target: str
    arguments: tuple[str, ...] = ()
    is_module: bool = False

    @property
    def name(self) -> str:
        """A short name, for folders."""
        if self.is_module:
            return self.target.removesuffix(".__main__").rpartition(".")[2]
        return Path(self.target).resolve().stem or "script"


def this_script() -> Script:
    """The script that this process runs, as its ``__main__`` and its arguments say.

    Where there is none, as in a notebook or after ``python -c``, it is called ``python``.
    """
    main: Any = sys.modules.get("__main__")
    arguments = tuple(sys.argv[1:])
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return Script(spec.name, arguments, is_module=True)
    path = getattr(main, "__file__", None)
    return Script("python" if path is None else sys.argv[0] or path, arguments)
