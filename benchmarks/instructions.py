"""Single instructions of tensor cores, run on the GPU of this machine: D = A B + C, tile by tile.

Two ways to the units of Hopper: `mma.sync`, by one warp (16 x 8 outputs), and `wgmma`, by four
(64 x 8). The operands of a tile lie in 32 bytes a row, whatever their format, so that one kernel
serves all of them. Sources are compiled by NVRTC, which comes with torch.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import torch

from deephochuli.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, E4M3FN, E5M2, TF32, Format
from deephochuli.kernels._nvrtc import compile_kernel, load_kernel

Way = Literal["mma", "wgmma"]

WORDS = 8  # of 32 bits, in a row of a tile


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: how it is reached, what it multiplies, and in which format it adds."""

    way: Way
    inputs: Format
    result: Format

    @property
    def name(self) -> str:
        """As PTX writes it."""
        head = "mma.sync.aligned.m16n8" if self.way == "mma" else "wgmma.mma_async.m64n8"
        types = [_PTX[self.result], *[_PTX[self.inputs]] * 2]
        return ".".join([f"{head}k{self.k}", *types])

    @property
    def k(self) -> int:
        """Products in a sum."""
        return 4 if self.inputs == BINARY64 else 32 // _DTYPES[self.inputs].itemsize

    @property
    def rows(self) -> int:
        """Rows of a tile of outputs; it has eight columns."""
        if self.inputs == BINARY64:
            return 8
        return 16 if self.way == "mma" else 64

    @property
    def dtype(self) -> torch.dtype:
        """Of the operands as they are handed over."""
        return _DTYPES[self.inputs]

    @property
    def result_dtype(self) -> torch.dtype:
        """Of the results and of what they begin from."""
        return _DTYPES[self.result]


_DTYPES = {
    **{BINARY16: torch.float16, BFLOAT16: torch.bfloat16, TF32: torch.float32},
    **{E4M3FN: torch.float8_e4m3fn, E5M2: torch.float8_e5m2},
    **{BINARY32: torch.float32, BINARY64: torch.float64},
}
_PTX = {
    **{BINARY16: "f16", BFLOAT16: "bf16", TF32: "tf32", E4M3FN: "e4m3", E5M2: "e5m2"},
    **{BINARY32: "f32", BINARY64: "f64"},
}


def instructions(ways: tuple[Way, ...] = ("mma", "wgmma")) -> tuple[Instruction, ...]:
    """All that Hopper has, but for integers and structured zeros."""
    pairs = [
        *((inputs, BINARY32) for inputs in (BINARY16, BFLOAT16, TF32, E4M3FN, E5M2)),
        *((inputs, BINARY16) for inputs in (BINARY16, E4M3FN, E5M2)),
    ]
    found = [Instruction(way, *pair) for pair in pairs for way in ways]
    return (*found, Instruction("mma", BINARY64, BINARY64))


_HEAD = """
extern "C" __global__ void tiles(
    const unsigned* a, const unsigned* b, const unsigned* c, unsigned* d, int columns)
{
    const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    const long long row = (long long)blockIdx.x * ROWS + (threadIdx.x >> 5) * 16 + g;
    const int column = blockIdx.y * 8;
    const unsigned* pa = a + row * 8;
    const unsigned a0 = pa[t], a1 = pa[64 + t], a2 = pa[t + 4], a3 = pa[64 + t + 4];
    const unsigned* pb = b + column * 8;
"""

_WIDE = """
    const long long at = row * columns + column + 2 * t, below = at + 8LL * columns;
    unsigned d0 = c[at], d1 = c[at + 1], d2 = c[below], d3 = c[below + 1];
    %s
    d[at] = d0; d[at + 1] = d1; d[below] = d2; d[below + 1] = d3;
}
"""
_NARROW = """
    const long long at = (row * columns + column) / 2 + t, below = at + 4LL * columns;
    unsigned d0 = c[at], d1 = c[below];
    %s
    d[at] = d0; d[below] = d1;
}
"""
_BY_WARP = """
    const unsigned b0 = pb[g * 8 + t], b1 = pb[g * 8 + t + 4];
    asm volatile("mma.sync.aligned.m16n8k{k}.row.col.{out}.{x}.{x}.{out} "
        "{{{d}}}, {{{a}}}, {{{b}}}, {{{d}}};"
        : {results} : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
"""
# B lies in two halves of eight rows of 16 bytes each, as the unit reads them without swizzling.
_BY_GROUP = """
    __shared__ __align__(128) unsigned shared[64];
    if (threadIdx.x < 64) {{
        const int n = threadIdx.x >> 3, w = threadIdx.x & 7;
        shared[(w >> 2) * 32 + n * 4 + (w & 3)] = pb[n * 8 + w];
    }}
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    const unsigned long long place = __cvta_generic_to_shared(shared);
    const unsigned long long about = (place & 0x3FFFF) >> 4 | 8ULL << 16 | 8ULL << 32;
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    asm volatile("wgmma.mma_async.sync.aligned.m64n8k{k}.{out}.{x}.{x} "
        "{{{d}}}, {{{a}}}, {b}, 1, 1, 1{more};"
        : {results} : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(about));
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
"""
_DOUBLE = """
extern "C" __global__ void tiles(
    const double* a, const double* b, const double* c, double* d, int columns)
{
    const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    const long long row = (long long)blockIdx.x * 8 + g;
    const long long at = row * columns + blockIdx.y * 8 + 2 * t;
    double d0 = c[at], d1 = c[at + 1];
    asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+d"(d0), "+d"(d1) : "d"(a[row * 4 + t]), "d"(b[(blockIdx.y * 8 + g) * 4 + t]));
    d[at] = d0; d[at + 1] = d1;
}
"""


def source_of(it: Instruction) -> str:
    """CUDA C++ of a kernel that gives each tile of outputs to one instruction."""
    if it.inputs == BINARY64:
        return _DOUBLE
    n = 4 if it.result == BINARY32 else 2
    names = {
        "k": it.k,
        "out": _PTX[it.result],
        "x": _PTX[it.inputs],
        "d": ", ".join(f"%{i}" for i in range(n)),
        "a": ", ".join(f"%{n + i}" for i in range(4)),
        "results": ", ".join(f'"+r"(d{i})' for i in range(n)),
    }
    if it.way == "mma":
        text = _BY_WARP.format(b=f"%{n + 4}, %{n + 5}", **names)
    else:
        more = ", 0" if it.inputs in (BINARY16, BFLOAT16) else ""
        text = _BY_GROUP.format(b=f"%{n + 4}", more=more, **names)
    body = (_WIDE if n == 4 else _NARROW) % text
    return f"#define ROWS {it.rows}\n{_HEAD}{body}"


@functools.cache
def _kernel(it: Instruction) -> Any:
    major, minor = torch.cuda.get_device_capability()
    target = f"sm_{major}{minor}" + ("a" if it.way == "wgmma" else "")
    return load_kernel(*compile_kernel(source_of(it), "tiles", target))


def run(it: Instruction, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Form A B + C, each tile by one instruction.

    Args:
        it: The instruction.
        a: (M, k) in its operands' dtype, on the GPU; M is a multiple of its rows.
        b: (N, k), the columns of B; N is a multiple of 8.
        c: (M, N) in its results' dtype.

    Returns:
        (M, N) like `c`.

    Raises:
        RuntimeError: The instruction does not exist on this GPU.
    """
    m, n = c.shape
    assert a.shape == (m, it.k), (a.shape, m, it.k)
    assert b.shape == (n, it.k), (b.shape, n, it.k)
    assert m % it.rows == 0 == n % 8, (m, n)
    assert (a.dtype, b.dtype, c.dtype) == (it.dtype, it.dtype, it.result_dtype)
    d = torch.empty_like(c)
    threads = 128 if it.way == "wgmma" else 32
    given = [x.contiguous() for x in (a, b, c)]
    _kernel(it)(grid=(m // it.rows, n // 8, 1), block=(threads, 1, 1), args=[*given, d, n])
    return d
