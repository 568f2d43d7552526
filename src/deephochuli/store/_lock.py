"""One writer for one folder: a file that says which process writes, and is believed while it lives.

The file names the process by its number, the time at which it started and the boot of the machine,
so that a process that was killed holds nothing, and neither does another one that has its number.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deephochuli.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK_NAME = ".writer.lock"
_MOST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Owner:
    """A process.

    Attributes:
        pid: Its number.
        started: When it started, in ticks since the boot; empty where that is not told.
        boot: Which boot of the machine; empty where that is not told.
        host: Name of the machine.
    """

    pid: int
    started: str
    boot: str
    host: str

    @classmethod
    def this(cls) -> Owner:
        """The process that asks."""
        pid = os.getpid()
        return cls(pid, _started(pid) or "", _boot(), socket.gethostname())

    def lives(self) -> bool:
        """Whether the process may still be there; that of another machine may."""
        if self.host != socket.gethostname():
            return True
        if self.boot != _boot():
            return False
        started = _started(self.pid)
        if started is not None:
            return started == self.started
        return not Path("/proc/self/stat").exists() and _has_pid(self.pid)


def take_lock(folder: Path) -> None:
    """Make this process the writer of a folder.

    Raises:
        StoreError: Another process that may still live writes there.
        OSError: The file cannot be written.
    """
    with _opened(folder) as handle:
        owner = _read(handle)
        if owner is not None and owner != Owner.this() and owner.lives():
            raise StoreError(
                f"{folder} is being written by process {owner.pid} on {owner.host}. Give another "
                f"folder, or end that process; if it is gone, delete {folder / LOCK_NAME}."
            )
        if owner == Owner.this():
            raise StoreError(f"{folder} is being written by this process. Give another folder.")
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, json.dumps(asdict(Owner.this())).encode())


def drop_lock(folder: Path) -> None:
    """Cease to be the writer of a folder, if this process is."""
    with suppress(OSError), _opened(folder) as handle:
        if _read(handle) == Owner.this():
            (folder / LOCK_NAME).unlink()


def has_writer(folder: Path) -> bool:
    """Whether a process that may still live says that it writes a folder; changes nothing."""
    try:
        handle = os.open(folder / LOCK_NAME, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return False
    try:
        owner = _read(handle)
    finally:
        os.close(handle)
    return owner is None or owner.lives()  # a file that says nothing is just being written


@contextmanager
def _opened(folder: Path) -> Generator[int]:
    """The lock file, with no other process in the same place at the same time."""
    path = folder / LOCK_NAME
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            if fcntl is not None:
                with suppress(OSError):  # some file systems have no such locks
                    fcntl.flock(handle, fcntl.LOCK_EX)
            # Whoever held it may have deleted it meanwhile: then this is no longer the file.
            if _is_at(path, handle):
                yield handle
                return
        finally:
            os.close(handle)


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _read(handle: int) -> Owner | None:
    """Who the file says; nobody if it says nothing that makes sense."""
    os.lseek(handle, 0, os.SEEK_SET)
    try:
        fields: Any = json.loads(os.read(handle, _MOST_BYTES))
        owner = Owner(**fields)
    except (ValueError, TypeError):
        return None
    return owner if str(owner.pid).isdecimal() else None


def _started(pid: int) -> str | None:
    """When a process started, where the system tells; None if it is not there, or a corpse."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _has_pid(pid: int) -> bool:
    """Whether there is such a process, on systems without /proc."""
    if os.name != "posix":
        return True  # there, asking would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
