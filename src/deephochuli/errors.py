"""Every error that DeepHochuli raises on purpose.

    DeepHochuliError
    ├── FormatError (ValueError)              a number format is unknown or impossible
    │   └── NotRepresentableError             a value has no place in a format
    ├── SketchError (ValueError)              a tensor or a sketch cannot be summarised or merged
    ├── ArithmeticSpecError (ValueError)      an arithmetic is unknown, or contradicts itself
    ├── CompareError (ValueError)             two executions of a model cannot be laid side by side
    ├── PiecesError (ValueError)              affine pieces of a model cannot be counted as asked
    ├── StudyError (ValueError)               a study is unknown, or cannot be run as asked
    ├── ConfigError (ValueError)              a configuration file says what cannot be
    ├── SheetError (ValueError)               an answer that is to be shown contradicts itself
    ├── TapError (ValueError)                 a model or an optimizer cannot be looked at as asked
    ├── StoreError (OSError)                  a run folder is missing, foreign or damaged
    │   └── SchemaVersionError                a run folder was written by a newer version
    └── MissingExtraError (ImportError)       an optional dependency is not installed

    DeepHochuliWarning (UserWarning)          said once per cause, never raised

A message says what failed, where, what was expected, what was found and what to do next.
"""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable


class DeepHochuliError(Exception):
    """Base of every error that DeepHochuli raises on purpose."""


class FormatError(DeepHochuliError, ValueError):
    """A number format is unknown, or its parameters contradict each other."""


class NotRepresentableError(FormatError):
    """A value that must be a member of a format is not."""


class SketchError(DeepHochuliError, ValueError):
    """A tensor cannot be summarised, or sketches cannot be merged."""


class ArithmeticSpecError(DeepHochuliError, ValueError):
    """An arithmetic is unknown, its parts contradict each other, or it cannot do what is asked."""


class CompareError(DeepHochuliError, ValueError):
    """Two executions of a model cannot be laid side by side; says what still can be."""


class PiecesError(DeepHochuliError, ValueError):
    """The affine pieces of a model cannot be counted in the way that was asked for."""


class StudyError(DeepHochuliError, ValueError):
    """A study is unknown, or cannot be run as asked."""


class ConfigError(DeepHochuliError, ValueError):
    """A configuration file is missing, is no TOML, or says what cannot be; names every fault."""


class SheetError(DeepHochuliError, ValueError):
    """An answer that is to be shown contradicts itself, such as a row with too few cells."""


class TapError(DeepHochuliError, ValueError):
    """A model or an optimizer cannot be looked at in the way that was asked for."""


class StoreError(DeepHochuliError, OSError):
    """A run folder is missing, is not a run folder, or is damaged."""


class SchemaVersionError(StoreError):
    """A run folder was written by a newer version of DeepHochuli."""


class MissingExtraError(DeepHochuliError, ImportError):
    """An optional dependency is needed for this and is not installed."""

    def __init__(self, needed_for: str, package: str, extra: str) -> None:
        """Name the purpose, the package and the extra that brings it."""
        super().__init__(
            f"{needed_for} needs the package {package!r}, which is not installed. "
            f"Install it with: pip install 'deephochuli[{extra}]'"
        )


class DeepHochuliWarning(UserWarning):
    """Something a user should know; said once per cause."""


def say(message: str, stacklevel: int = 2) -> None:
    """Warn from within a training, which must go on whatever happens to the warning.

    Where warnings are turned into errors the message goes to standard error; where that is closed
    too, nobody can be told.
    """
    try:
        warnings.warn(message, DeepHochuliWarning, stacklevel=stacklevel)
    except Exception:  # a filter "error", or somebody's own way to show warnings
        try:
            print(f"DeepHochuliWarning: {message}", file=sys.stderr)
        except Exception:
            return


def describe(error: BaseException) -> str:
    """Kind and text of an error, also of one that cannot be printed."""
    try:
        text = str(error)
    except Exception:
        text = "(an error without a text)"
    return f"{type(error).__name__}: {text}"


def check_kind(
    given: object, kind: type, expected: str, error: type[DeepHochuliError], doing: str
) -> None:
    """Refuse a value of another kind.

    Args:
        given: The value.
        kind: What it is to be.
        expected: The same in words.
        error: What to raise.
        doing: What it is wanted for, such as "Cannot round".

    Raises:
        DeepHochuliError: It is not of this kind; of the class that was asked for.

    Example:
        >>> check_kind(1.5, str, "text", FormatError, "Cannot read")
        Traceback (most recent call last):
        deephochuli.errors.FormatError: Cannot read a value of type float: expected text.
    """
    if not isinstance(given, kind):
        raise error(f"{doing} a value of type {type(given).__name__}: expected {expected}.")


def near_matches(name: str, known: Iterable[str], limit: int = 3) -> str:
    """Say which known names a mistyped one resembles, as the tail of an error message.

    Args:
        name: What the user wrote.
        known: The names that would have been accepted.
        limit: How many resembling names to give at most.

    Returns:
        ``"Did you mean 'a' or 'b'?"``, or the list of all known names when none resembles.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=limit, cutoff=0.5)
    if close:
        return "Did you mean " + " or ".join(repr(match) for match in close) + "?"
    return "Known names: " + ", ".join(names) + "."
