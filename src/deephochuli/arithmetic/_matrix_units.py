"""Tensor cores of NVIDIA and matrix cores of AMD, each with the source of its model.

How they add is not documented by their makers. The models come from measurements by others
and were checked against recorded outputs of the units; docs/accumulation.md has the table of what
agrees. Where sources disagree or nothing was recorded the confidence is lower, and the description
says why.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._sums import Sums
from deephochuli.formats import (
    BFLOAT16,
    BINARY16,
    BINARY32,
    E4M3FN,
    E4M3FNUZ,
    E5M2,
    E5M2FNUZ,
    TF32,
    Format,
    define_format,
)

E8M13 = define_format(
    "e8m13",
    exponent_bits=8,
    precision=14,
    description="what the FP8 units of Ada and Hopper hand back, in the upper bits of fp32",
)

_FASI = "Fasi, Higham, Mikaitis, Pranesh 2021 (PeerJ CS 7:e330)"
MMASIM = "MMA-Sim (mmasim 2.1.1)"
_MATLAB = "MATLAB-tensor-core"
_MEASURED = "measured on an H200 (benchmarks/tensor_cores.py)"


def _aligned(block: int, bits: int, zero: int, fmt: Format = BINARY32, **more: Any) -> Sums:
    """Tensor core of NVIDIA: fp16 results are rounded to nearest, all others are cut."""
    rounding = "nearest-even" if fmt == BINARY16 else "toward-zero"
    return Sums(
        kind="aligned",
        block=block,
        fraction_bits=bits,
        zero_exponent=zero,
        format=fmt,
        rounding=rounding,
        **more,
    )


_INPUTS = {"fp16": BINARY16, "bf16": BFLOAT16, "tf32": TF32, "fp8": E4M3FN, "fp8-e5m2": E5M2}


def _tensor_core(machine: str, inputs: str, sums: Sums, source: str, **more: Any) -> Arithmetic:
    text = "tensor core" if "out" not in more else f"tensor core, {more.pop('out')} results"
    note = more.pop("note", "")
    suffix = more.pop("suffix", "")
    return Arithmetic(
        name=f"{machine}-{inputs}{suffix}",
        inputs=_INPUTS[inputs],
        input_rounding="toward-zero" if inputs == "tf32" else "nearest-even",
        sums=sums,
        source=source,
        description=f"{machine} {text}, {inputs} operands, {sums.block} products a block"
        + (f"; {note}" if note else ""),
        **more,
    )


def _generation(
    machine: str,
    blocks: dict[str, int],
    bits: int,
    source: str,
    confidence: str,
) -> list[Arithmetic]:
    """FP16, BF16 and TF32 units of one generation, and FP16 with FP16 results."""
    zero = -108 - bits
    made = [
        _tensor_core(machine, name, _aligned(block, bits, zero), source, confidence=confidence)
        for name, block in blocks.items()
    ]
    half = _aligned(blocks["fp16"], bits, 4 - bits, BINARY16)
    made.append(
        _tensor_core(
            machine,
            "fp16",
            half,
            source,
            confidence=confidence,
            out="fp16",
            suffix="-accumulate-fp16",
        )
    )
    return made


def nvidia() -> tuple[Arithmetic, ...]:
    """Tensor cores, from Volta to Blackwell."""
    three = f"{_FASI}; {MMASIM}; {_MATLAB}"
    two = f"{MMASIM}; {_MATLAB}"
    return (
        *_generation("v100", {"fp16": 4}, 23, three, "high"),
        *_generation("t4", {"fp16": 8}, 24, f"{_FASI}; {MMASIM}", "medium"),
        *_generation("a100", {"fp16": 8, "bf16": 8, "tf32": 4}, 24, three, "high"),
        *_generation("ada", {"fp16": 8, "bf16": 8, "tf32": 4}, 24, two, "high"),
        *_generation("h100", {"fp16": 16, "bf16": 16, "tf32": 8}, 25, two, "high"),
        _by_libraries("h100"),
        *_generation("b200", {"fp16": 16, "bf16": 16, "tf32": 8}, 25, two, "high"),
        *_fp8_of_ada(f"{two}; SageAttention"),
        *_fp8_of_hopper(f"DeepSeek-V3 report; {two}"),
        *_fp8_of_blackwell(two),
    )


def _by_libraries(machine: str) -> Arithmetic:
    """TF32 as products of torch on a GPU use it, that is cuBLAS and cuDNN."""
    return replace(
        _tensor_core(
            machine,
            "tf32",
            _aligned(8, 25, -133),
            "measured on an H200, torch 2.11 with CUDA 13.0 (benchmarks/tf32.py)",
            suffix="-nearest",
            confidence="high",
            note="operands rounded to nearest before, as cuBLAS and cuDNN do",
        ),
        input_rounding="nearest-even",
    )


def _fp8_of_ada(source: str) -> list[Arithmetic]:
    made: list[Arithmetic] = []
    for inputs in ("fp8", "fp8-e5m2"):
        full, half = _aligned(16, 13, -132, E8M13), _aligned(16, 13, -20, BINARY16)
        made += [
            _tensor_core("ada", inputs, full, source, confidence="high", out="E8M13"),
            _tensor_core(
                "ada",
                inputs,
                half,
                source,
                confidence="high",
                out="fp16",
                suffix="-accumulate-fp16",
            ),
        ]
    return made


def _fp8_of_hopper(source: str) -> list[Arithmetic]:
    made: list[Arithmetic] = []
    for inputs in ("fp8", "fp8-e5m2"):
        inner = _aligned(32, 13, -133, E8M13)
        made += [
            _tensor_core("h100", inputs, inner, source, confidence="high", out="E8M13"),
            _tensor_core(
                "h100",
                inputs,
                _aligned(32, 13, -21, BINARY16),
                f"{MMASIM}; {_MEASURED}",
                confidence="high",
                out="fp16",
                suffix="-accumulate-fp16",
                note="wgmma; recordings of fp16 results are of mma.sync",
            ),
            *_fp8_by_mma("h100", inputs),
            _tensor_core(
                "h100",
                inputs,
                replace(inner, chunk=128, outer=BINARY32),
                "DeepSeek-V3 report; DeepGEMM",
                confidence="high",
                suffix="-promoted",
                note="partial sums added in fp32 after every 128 products",
            ),
        ]
    return made


def _fp8_by_mma(machine: str, inputs: str) -> list[Arithmetic]:
    """What compilers make of mma.sync, which has no FP8 unit behind it there.

    Operands become FP16 in registers. The unit for FP16 adds up the lower halves of all registers,
    from zero, then the upper ones; the running sum is added by an ordinary addition. That subnormal
    operands become normal numbers makes no difference: where their products are the largest, every
    bit of all products is kept.
    """
    source = f"code that CUDA 13 makes for sm_90 and sm_100; {_MATLAB}"
    if machine == "h100":
        source = f"{source}; {_MEASURED}"
    made: list[Arithmetic] = []
    for fmt, zero, out in ((BINARY32, -133, "fp32"), (BINARY16, -21, "fp16")):
        sums = _aligned(16, 25, zero, fmt, order="paired", chunk=32, outer=fmt)
        made.append(
            _tensor_core(
                machine,
                inputs,
                sums,
                source,
                confidence="high",
                out=out,
                suffix="-mma" if fmt == BINARY32 else "-mma-accumulate-fp16",
                note="mma.sync, which becomes two instructions for fp16 and an addition",
            )
        )
    return made


def _fp8_of_blackwell(source: str) -> list[Arithmetic]:
    made: list[Arithmetic] = []
    note = "tcgen05; recordings are of mma.sync"
    for inputs in ("fp8", "fp8-e5m2"):
        full, half = _aligned(32, 25, -133), _aligned(32, 25, -21, BINARY16)
        made += [
            _tensor_core("b200", inputs, full, source, confidence="low", note=note),
            _tensor_core(
                "b200",
                inputs,
                half,
                source,
                confidence="low",
                out="fp16",
                suffix="-accumulate-fp16",
                note=note,
            ),
            *_fp8_by_mma("b200", inputs),
        ]
    return made


def _amd(name: str, inputs: Format, sums: Sums, source: str, text: str) -> Arithmetic:
    return Arithmetic(
        name=name,
        inputs=inputs,
        input_rounding="toward-zero" if inputs == TF32 else "nearest-even",
        sums=sums,
        source=source,
        confidence="medium",
        description=text,
    )


def cdna() -> tuple[Arithmetic, ...]:
    """Matrix cores of AMD, from CDNA 1 to 3."""
    fttn = f"{MMASIM}; FTTN"
    cdna3 = {
        name: _aligned_late(block, split=name in ("fp8", "bf8"))
        for name, block in {"fp16": 8, "bf16": 8, "xf32": 4, "fp8": 16, "bf8": 16}.items()
    }
    of_cdna3 = {
        **{"fp16": BINARY16, "bf16": BFLOAT16, "xf32": TF32},
        **{"fp8": E4M3FNUZ, "bf8": E5M2FNUZ},
    }
    tree4 = Sums(
        kind="chain",
        order="blocked",
        within="pairwise",
        block=4,
        fused=False,
        flush_subnormals=True,
    )
    exact = f"{MMASIM}; {_MATLAB}; FTTN"
    once = "rounded once a block"
    return (
        _amd("mi100-fp16", BINARY16, Sums(kind="exact", block=4), exact, f"4 products, {once}"),
        _amd("mi100-bf16", BFLOAT16, Sums(kind="exact", block=2), exact, f"2 products, {once}"),
        _amd("mi250-fp16", BINARY16, tree4, fttn, "pairwise fp32 sums of 4, subnormals flushed"),
        _amd("mi250-bf16-1k", BFLOAT16, tree4, fttn, "as mi250-fp16, with bf16 operands"),
        _amd(
            "mi250-bf16",
            BFLOAT16,
            replace(tree4, block=2),
            fttn,
            "pairwise fp32 sums of 2, subnormals flushed",
        ),
        *(
            _amd(
                f"mi300-{name}",
                of_cdna3[name],
                sums,
                MMASIM,
                f"{sums.block} products cut to 24 bits, then joined to the running sum at 31",
            )
            for name, sums in cdna3.items()
        ),
    )


def _aligned_late(block: int, *, split: bool) -> Sums:
    return Sums(kind="aligned", block=block, fraction_bits=24, late_bits=31, split=split)
