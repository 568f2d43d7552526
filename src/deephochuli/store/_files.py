"""Files that are whole or absent: write under another name, make it durable, rename."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from deephochuli.errors import StoreError

# Opening a pipe must not wait for its other end; Windows must not translate the ends of lines.
_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_whole(path: Path, most_bytes: int) -> bytes:
    """Bytes of a file: of a regular one, and no more than can be meant.

    Raises:
        StoreError: It is a pipe, a device or a folder, or too large.
        OSError: It is missing or cannot be read.
    """
    handle = os.open(path, _READING)
    with os.fdopen(handle, "rb", buffering=0) as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"{path} is no file")
        if found.st_size > most_bytes:
            raise StoreError(f"{path} has {found.st_size:,} bytes, more than {most_bytes:,}")
        parts = [file.read(found.st_size)]
        while (missing := found.st_size - sum(map(len, parts))) > 0 and parts[-1]:
            parts.append(file.read(missing))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def make_durable(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    if path.is_dir() and os.name != "posix":
        return  # elsewhere a folder cannot be opened, and a rename is durable by itself
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file by a whole new one, or leave it as it is."""
    draft = path.with_name(f".{path.name}.tmp")
    try:
        draft.write_bytes(data)
        make_durable(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    make_durable(path.parent)


def publish_folder(draft: Path, final: Path) -> None:
    """Give a folder its final name once all its files are on the disk."""
    for path in draft.iterdir():
        make_durable(path)
    make_durable(draft)
    draft.rename(final)
    make_durable(final.parent)


def size_of(folder: Path) -> int:
    """Bytes in the files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def remove_folder(folder: Path) -> None:
    """Delete a folder if it is there, as far as that works."""
    shutil.rmtree(folder, ignore_errors=True)
