"""Compile the rounding kernel for a GPU of compute capability 9.0, which need not be there."""

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from deephochuli.kernels.rounding import _cuda_kernels as kernels
from deephochuli.kernels.rounding._constants import Mode

KINDS = {"*i32": kernels.BINARY32, "*i64": kernels.BINARY64, "*i16": kernels.BINARY16}
CASES = [("*i32", mode, True, True) for mode in Mode]
CASES += [("*i64", Mode.STOCHASTIC, True, True), ("*i16", Mode.NEAREST, True, False)]


def main() -> None:
    """Print what the kernel takes of the processor."""
    for pointer, mode, low, deep in CASES:
        constants = {"KIND": KINDS[pointer].value, "MODE": int(mode), "LOW": low, "DEEP": deep}
        arguments = {"source": pointer, "target": pointer, "n": "i64", "table": "*i64"}
        arguments |= {"key": "*i64"} | dict.fromkeys(constants, "constexpr")
        source = ASTSource(kernels.round_group, signature=arguments, constexprs=constants)
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32))
        print("round_group", pointer, mode.name, "shared bytes:", made.metadata.shared, flush=True)


if __name__ == "__main__":
    main()
