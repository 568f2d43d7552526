"""Compiling CUDA C++ by NVRTC, the compiler that comes with torch.

torch has a way of its own, which is not public either and asks for an installed CUDA toolkit: it
passes the folder of the toolkit's headers. The sources here include none.
"""

# torch's way to the library carries no types and is not public.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import ctypes
from typing import Any


def compile_kernel(source: str, name: str, architecture: str) -> tuple[bytes, str]:
    """Compile one kernel.

    Args:
        source: CUDA C++.
        name: Of the kernel, with the arguments of its template.
        architecture: For which GPUs, such as "sm_90".

    Returns:
        The machine code (a CUBIN), and the name of the kernel in it.

    Raises:
        RuntimeError: The source cannot be compiled; with what the compiler says.
        OSError: There is no NVRTC.
    """
    from torch.cuda import _utils

    library: Any = _utils._get_gpu_rtc_library()
    program = ctypes.c_void_p()
    given = source.encode(), b"deephochuli.cu", 0, None, None
    _check(library, library.nvrtcCreateProgram(ctypes.byref(program), *given))
    try:
        _check(library, library.nvrtcAddNameExpression(program, name.encode()))
        options = (ctypes.c_char_p * 1)(f"--gpu-architecture={architecture}".encode())
        if library.nvrtcCompileProgram(program, 1, options):
            log = _bytes_of(library, program, "ProgramLog").decode(errors="replace")
            raise RuntimeError(f"{name} cannot be compiled for {architecture}: {log}")
        lowered = ctypes.c_char_p()
        status = library.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(lowered))
        _check(library, status)
        return _bytes_of(library, program, "CUBIN"), (lowered.value or b"").decode()
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def load_kernel(code: bytes, name: str) -> Any:
    """Load machine code on the current device.

    Returns:
        A kernel of torch's: `func` is the driver's handle of it, and it can be called with `grid`,
        `block` and `args`.
    """
    from torch.cuda import _utils

    loaded: Any = _utils._cuda_load_module(code, [name])
    return loaded[name]


def _bytes_of(library: Any, program: ctypes.c_void_p, what: str) -> bytes:
    """Something that the compiler has made, of which it tells the size."""
    size = ctypes.c_size_t()
    _check(library, getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(library, getattr(library, f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _check(library: Any, status: int) -> None:
    if status:
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        said = library.nvrtcGetErrorString(status) or b"an unknown error"
        raise RuntimeError(f"NVRTC failed: {said.decode(errors='replace')}")
