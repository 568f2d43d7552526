"""``python -m deephochuli``: the command line without its script on PATH."""

from __future__ import annotations

from deephochuli.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
