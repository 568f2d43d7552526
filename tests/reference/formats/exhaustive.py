"""Walk all 2^32 binary32 patterns through the rounding oracle and the casts of two libraries.

From the root of the repository: python -m tests.reference.formats.exhaustive [FORMAT ...]
"""

import sys
import time
from collections.abc import Iterator

import numpy as np
import torch

from deephochuli.formats import round_to_codes

from .judges import Judge, judges, one_nan

FORMATS = ["fp16", "bf16", "fp8_e4m3fn", "fp8_e5m2", "fp8_e4m3fnuz", "fp8_e5m2fnuz", "fp8_e3m4"]
N_PATTERNS = 1 << 32
CHUNK = 1 << 22


def chunks(start: int, stop: int) -> Iterator[np.ndarray]:
    """The binary32 numbers with the patterns from start to stop, in pieces."""
    for low in range(start, stop, CHUNK):
        yield np.arange(low, min(low + CHUNK, stop), dtype=np.uint32).view(np.float32)


def mismatches(x: np.ndarray, beside: list[Judge]) -> dict[str, int]:
    """How many of the numbers each judge rounds to another code than the oracle."""
    # Rounded once for each policy: two judges of a format usually share theirs.
    ours = {
        policy: one_nan(round_to_codes(x, beside[0].fmt, overflow=policy), beside[0].fmt)
        for policy in {judge.policy for judge in beside}
    }
    return {
        judge.library: int(np.count_nonzero(ours[judge.policy] != judge.codes(x)))
        for judge in beside
    }


def walk(name: str, start: int = 0, stop: int = N_PATTERNS, *, show: bool = True) -> int:
    """Compare all patterns from start to stop in one format; give the number of mismatches."""
    beside = judges([name])
    wrong = dict.fromkeys((judge.library for judge in beside), 0)
    began = time.monotonic()
    for x in chunks(start, stop):
        for library, n in mismatches(x, beside).items():
            wrong[library] += n
        if show:
            done = int(x[-1:].view(np.uint32)[0]) + 1 - start
            spent = time.monotonic() - began
            left = spent * (stop - start - done) / done
            line = f"\r{name}: {done / (stop - start):6.1%}, {sum(wrong.values())} mismatches, "
            print(f"{line}{left:.0f} s left   ", end="", file=sys.stderr, flush=True)
    if show:
        policies = ", ".join(f"{judge.library}: overflow {judge.policy}" for judge in beside)
        print(f"\r{name}: {stop - start} numbers beside {policies}: {wrong}")
    return sum(wrong.values())


def main(names: list[str]) -> int:
    """Walk the named formats, or all; the last line is the sum."""
    torch.set_num_threads(1)
    chosen = names or FORMATS
    wrong = sum(walk(name) for name in chosen)
    n = N_PATTERNS * sum(len(judges([name])) for name in chosen)
    print(f"{n} compared, {wrong} mismatches")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
