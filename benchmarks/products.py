"""What emulated products cost beside torch's own, on one core.

Everything is measured in turn, round by round, in one run: CPU time of the calling thread, the
median over the rounds of the ratio to `torch.mm` in binary32 of the same round. Chains first, then
every block model of the catalogue. Usage:

    python benchmarks/products.py [--size 512] [--rounds 9] [--names fp16-sequential a100-fp16 ...]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from deephochuli.arithmetic import Arithmetic, get_arithmetic, list_arithmetics
from deephochuli.arithmetic._operands import to_inputs
from deephochuli.arithmetic._plans import plan_of
from deephochuli.kernels.products import multiply

CHAINS = (
    *("fp16-sequential", "bf16-sequential", "fp16-sequential-no-fma", "bf16-sequential-no-fma"),
    *("fp32-sequential", "fp32-pairwise", "fp64-sequential", "avx512-bf16"),
    *("fp16-exact", "fp32-exact"),
)


def block_models() -> list[str]:
    """One name for every way in which an arithmetic of the catalogue forms sums block by block."""
    found: dict[tuple[object, object], str] = {}
    for it in list_arithmetics():
        if it.sums.is_emulated and it.sums.block is not None:
            found.setdefault((it.sums, it.inputs), it.name)
    return list(found.values())


def seconds(call: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.thread_time()
    call()
    return time.thread_time() - start


def ratio(it: Arithmetic, a: torch.Tensor, b: torch.Tensor, rounds: int) -> tuple[float, float]:
    """How many times the time of torch.mm an emulated product takes, and that time."""
    plan = plan_of(it)
    x, y = (to_inputs(each, it).to(plan.dtype).unsqueeze(0) for each in (a, b))

    def ours() -> object:
        return multiply(plan, x, y)

    def theirs() -> object:
        return torch.mm(a, b)

    ours(), theirs()
    times = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    return statistics.median(mine / other for mine, other in times), min(t for t, _ in times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--names", nargs="*", default=(*CHAINS, *block_models()))
    options = parser.parse_args()
    torch.set_num_threads(1)
    n, generator = options.size, torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, n, generator=generator) for _ in range(2))
    print(f"{n}^3, one thread; time as a multiple of torch.mm in binary32 of the same round")
    for name in options.names:
        times, best = ratio(get_arithmetic(name), a, b, options.rounds)
        print(f"{name:28s} {times:8.1f} x {2 * n**3 / best / 1e9:8.2f} GFLOP/s", flush=True)


if __name__ == "__main__":
    main()
