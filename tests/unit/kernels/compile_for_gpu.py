"""Compile every kernel for a GPU of compute capability 9.0, which need not be there."""

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from deephochuli.kernels import _cuda_kernels as kernels

LONG, WORDS = "i64", "*i64"
SIGNATURES = {
    "count_one": {"rows": WORDS, "row": LONG, "address": LONG, "n": LONG, "table": LONG},
    "count_many": {"rows": WORDS, "jobs": WORDS, "parts": WORDS, "table": LONG},
    "count_updates": {
        "rows": WORDS, "extras": WORDS, "jobs": WORDS, "parts": WORDS, "table": LONG,
    },
    "channel_of_planes": {
        "counts": WORDS, "address": LONG, "n": LONG, "inner": LONG, "n_channels": LONG,
        "table": LONG,
    },
    "channel_of_columns": {
        "counts": WORDS, "address": LONG, "n": LONG, "n_channels": LONG, "table": LONG,
    },
}  # fmt: skip
CONSTANTS = {"count_updates": {"HAS_GRADIENT": True}, "channel_of_columns": {"ROWS": 16}}


def main() -> None:
    """Print what each kernel takes of the processor."""
    for name, signature in SIGNATURES.items():
        for kind in (kernels.BINARY32, kernels.BFLOAT16, kernels.BINARY16, kernels.TABLE8):
            constants = {"KIND": kind.value, **CONSTANTS.get(name, {})}
            source = ASTSource(
                getattr(kernels, name),
                signature=signature | dict.fromkeys(constants, "constexpr"),
                constexprs=constants,
            )
            made = triton.compile(source, target=GPUTarget("cuda", 90, 32))
            print(name, kind.value, "shared bytes:", made.metadata.shared, flush=True)


if __name__ == "__main__":
    main()
