"""Recorded outputs of tensor cores, which lie beside the project and are no part of it.

They come from the project MATLAB-tensor-core (BSD-2). DEEPHOCHULI_RECORDINGS names their folder;
without it, `../shared/hardware-recordings` from the root of the repository is looked at.
"""

import io
import os
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
_INPUTS = {"E4M3": "fp8", "E5M2": "fp8-e5m2"}


@dataclass(frozen=True)
class Recording:
    """Outputs of one instruction: d = the sum over k of a[:, k] b[:, k], plus c."""

    name: str
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    d: np.ndarray


def folder() -> Path:
    return Path(
        os.environ.get("DEEPHOCHULI_RECORDINGS", ROOT.parent / "shared/hardware-recordings")
    )


def _words(data: bytes) -> np.ndarray:
    """Patterns of binary32, written in hexadecimal or in binary digits."""
    text = data.decode("ascii").split()
    base = 2 if len(text[0]) == 32 else 16
    per_row = data.split(b"\n", 1)[0].split()
    words = np.array([int(word, base) for word in text], dtype=np.uint32)
    return words.reshape(-1, len(per_row)).view(np.float32)


@cache
def recordings() -> dict[str, Recording]:
    """All recordings, by the arithmetic that should explain them."""
    found = {}
    for archive in sorted(folder().glob("*.tar.xz")):
        with tarfile.open(archive) as tar:
            files = {m.name: tar.extractfile(m) for m in tar.getmembers() if m.isfile()}
            data = {name: io.BytesIO(f.read()).getvalue() for name, f in files.items() if f}
        for name in data:
            if Path(name).name.startswith("d_"):
                recording = _recording(name, data)
                found[recording.name] = recording
    return found


def _recording(name: str, data: dict[str, bytes]) -> Recording:
    place = Path(name)
    machine, kind = place.parts[-3].lower(), place.parent.name
    half = place.stem.endswith("fp16")
    arithmetic = f"{machine}-{_INPUTS.get(kind, kind)}" + ("-accumulate-fp16" if half else "")
    beside = {Path(n).name[0]: n for n in data if Path(n).parent == place.parent}
    operands = (_words(data[beside[letter]]) for letter in "abc")
    return Recording(arithmetic, *operands, _words(data[name]))
