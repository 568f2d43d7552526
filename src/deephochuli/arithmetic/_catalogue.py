"""The arithmetics that machines and studies use, by name, each with its source.

How tensor cores add is not documented by their makers. The models come from measurements by others
and were checked against recorded outputs of the units; docs/accumulation.md has the table of what
agrees. Where sources or recordings disagree the confidence is "low" or "unknown", and the
description says what is not explained.
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
    BINARY64,
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
_MMASIM = "MMA-Sim (mmasim 2.1.1)"
_MATLAB = "MATLAB-tensor-core"
_SDM = "Intel SDM, pseudo-code of the instruction"
_DEFINITION = "definition"

_NATIVE32, _NATIVE64 = Sums(), Sums(format=BINARY64)


def _chain(fmt: Format, order: str = "sequential", **more: Any) -> Sums:
    return Sums(kind="chain", format=fmt, order=order, **more)


def _native() -> tuple[Arithmetic, ...]:
    """Rounded operands and results, sums as torch forms them."""
    return (
        Arithmetic(
            name="fp64",
            sums=_NATIVE64,
            source=_DEFINITION,
            description="products in binary64, by torch: the usual reference",
        ),
        Arithmetic(
            name="fp32",
            inputs=BINARY32,
            sums=_NATIVE32,
            output=BINARY32,
            activations=BINARY32,
            gradients=BINARY32,
            source=_DEFINITION,
            description="whatever torch does on this machine with binary32",
        ),
        Arithmetic(
            name="tf32",
            inputs=TF32,
            input_rounding="nearest-away",
            source="PTX ISA: cvt.rna.tf32.f32, by which libraries convert",
            confidence="medium",
            description="operands rounded to TF32 by software, sums by torch in fp32",
        ),
        Arithmetic(
            name="tf32-rz",
            inputs=TF32,
            input_rounding="toward-zero",
            source="torch note on numerical accuracy: the first 10 bits are read",
            confidence="medium",
            description="operands cut to TF32, as hardware reads fp32, sums by torch in fp32",
        ),
    )


def _storage() -> tuple[Arithmetic, ...]:
    """Mixed precision as recipes do it: narrow operands and results, wide sums and weights."""
    mixed: list[Arithmetic] = []
    pure: list[Arithmetic] = []
    for name, fmt in (("bf16", BFLOAT16), ("fp16", BINARY16)):
        base = Arithmetic(
            name=name,
            inputs=fmt,
            output=fmt,
            activations=fmt,
            gradients=fmt,
            source="mixed precision: Micikevicius et al. 2018, arXiv 1710.03740",
            description=f"operands and results in {name}, sums, weights and optimizer in fp32",
        )
        mixed.append(base)
        pure.append(
            replace(
                base,
                name=f"{name}-pure",
                weights=fmt,
                optimizer=fmt,
                source=_DEFINITION,
                description=f"everything that is kept is {name}, weights and optimizer too",
            )
        )
    fp8 = Arithmetic(
        name="fp8",
        inputs=E4M3FN,
        gradient_inputs=E5M2,
        output=BFLOAT16,
        activations=BFLOAT16,
        gradients=BFLOAT16,
        source="Micikevicius et al. 2022, arXiv 2209.05433 (without its scaling factors)",
        description="operands E4M3, gradients E5M2, unscaled; results in bf16, the rest in fp32",
    )
    return (*mixed, *pure, fp8)


def _chains() -> tuple[Arithmetic, ...]:
    """Sums with a known order in a known format."""
    formats = {"fp64": BINARY64, "fp32": BINARY32, "fp16": BINARY16, "bf16": BFLOAT16}
    orders: dict[str, tuple[Sums, str]] = {}
    for short, fmt in formats.items():
        orders[f"{short}-sequential"] = _chain(fmt), "one FMA after the other"
        orders[f"{short}-sequential-no-fma"] = (
            _chain(fmt, fused=False),
            "product rounded, then added, one after the other",
        )
        orders[f"{short}-pairwise"] = (
            _chain(fmt, "pairwise", fused=False),
            "products rounded, neighbours added level by level",
        )
        orders[f"{short}-blocked"] = (
            _chain(fmt, "blocked", block=32),
            "FMA in blocks of 32, block sums added one after the other",
        )
    made = [
        Arithmetic(
            name=name,
            inputs=None if sums.format == BINARY64 else sums.format,
            output=None if sums.format == BINARY64 else sums.format,
            sums=sums,
            source=_DEFINITION,
            description=f"sums in {sums.format.name}: {text}",
        )
        for name, (sums, text) in orders.items()
    ]
    chunked = Arithmetic(
        name="fp16-chunked",
        inputs=BINARY16,
        sums=Sums(kind="chain", format=BINARY16, chunk=64, outer=BINARY32),
        source="chunked accumulation: Wang et al. 2018, arXiv 1812.08011",
        description="fp16 FMA chains of 64, their sums added in fp32",
    )
    exact = [
        Arithmetic(
            name=f"{name}-exact",
            inputs=None if fmt == BINARY64 else fmt,
            sums=Sums(kind="exact", format=fmt),
            source=_DEFINITION,
            description=f"the exact sum of all products, rounded once to {name}",
        )
        for name, fmt in (("fp64", BINARY64), ("fp32", BINARY32), ("fp16", BINARY16))
    ]
    return (*made, chunked, *exact)


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


def _nvidia() -> tuple[Arithmetic, ...]:
    three = f"{_FASI}; {_MMASIM}; {_MATLAB}"
    two = f"{_MMASIM}; {_MATLAB}"
    return (
        *_generation("v100", {"fp16": 4}, 23, three, "high"),
        *_generation("t4", {"fp16": 8}, 24, f"{_FASI}; {_MMASIM}", "medium"),
        *_generation("a100", {"fp16": 8, "bf16": 8, "tf32": 4}, 24, three, "high"),
        *_generation("ada", {"fp16": 8, "bf16": 8, "tf32": 4}, 24, two, "high"),
        *_generation("h100", {"fp16": 16, "bf16": 16, "tf32": 8}, 25, two, "high"),
        *_generation("b200", {"fp16": 16, "bf16": 16, "tf32": 8}, 25, two, "high"),
        *_fp8_of_ada(f"{two}; SageAttention"),
        *_fp8_of_hopper(f"DeepSeek-V3 report; {two}"),
        *_fp8_of_blackwell(two),
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
    unexplained = "recorded fp16 results are not explained by it (agreement below 0.7)"
    for inputs in ("fp8", "fp8-e5m2"):
        inner = _aligned(32, 13, -133, E8M13)
        made += [
            _tensor_core("h100", inputs, inner, source, confidence="high", out="E8M13"),
            _tensor_core(
                "h100",
                inputs,
                _aligned(32, 13, -21, BINARY16),
                source,
                confidence="unknown",
                out="fp16",
                suffix="-accumulate-fp16",
                note=unexplained,
            ),
            _tensor_core(
                "h100",
                inputs,
                _aligned(32, 25, -133),
                _MMASIM,
                confidence="medium",
                suffix="-mma",
                note="by the instruction mma.sync instead of wgmma",
            ),
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


def _fp8_of_blackwell(source: str) -> list[Arithmetic]:
    made: list[Arithmetic] = []
    note = "sources say so, recordings equal the correctly rounded sum instead"
    for inputs in ("fp8", "fp8-e5m2"):
        half = _aligned(32, 25, -21, BINARY16)
        recorded = Sums(kind="exact", block=32)
        made += [
            _tensor_core(
                "b200", inputs, _aligned(32, 25, -133), source, confidence="low", note=note
            ),
            _tensor_core(
                "b200",
                inputs,
                recorded,
                f"recordings of {_MATLAB}",
                confidence="low",
                suffix="-recorded",
                note="the model that the recordings agree with; no source describes it",
            ),
            _tensor_core(
                "b200",
                inputs,
                half,
                source,
                confidence="unknown",
                out="fp16",
                suffix="-accumulate-fp16",
                note="recorded results are not explained by it (agreement below 0.7)",
            ),
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


def _cdna() -> tuple[Arithmetic, ...]:
    fttn = f"{_MMASIM}; FTTN"
    cdna3 = {
        name: _aligned_late(block, split=name in ("fp8", "bf8"))
        for name, block in {"fp16": 8, "bf16": 8, "xf32": 4, "fp8": 16, "bf8": 16}.items()
    }
    of_cdna3 = {
        **{"fp16": BINARY16, "bf16": BFLOAT16, "xf32": TF32},
        **{"fp8": E4M3FNUZ, "bf8": E5M2FNUZ},
    }
    tree4 = _chain(
        BINARY32, "blocked", within="pairwise", block=4, fused=False, flush_subnormals=True
    )
    exact = f"{_MMASIM}; {_MATLAB}; FTTN"
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
                _MMASIM,
                f"{sums.block} products cut to 24 bits, then joined to the running sum at 31",
            )
            for name, sums in cdna3.items()
        ),
    )


def _aligned_late(block: int, *, split: bool) -> Sums:
    return Sums(kind="aligned", block=block, fraction_bits=24, late_bits=31, split=split)


def _cpu() -> tuple[Arithmetic, ...]:
    flushed = _chain(BINARY32, "swapped", flush_subnormals=True)
    tile = _chain(BINARY32, "blocked", block=32, within="interleaved", flush_subnormals=True)
    return (
        Arithmetic(
            name="cuda-core-fp32",
            inputs=BINARY32,
            sums=_chain(BINARY32),
            source=_MMASIM,
            confidence="medium",
            description="FMA chain in fp32; the split of K by a library is not known",
        ),
        Arithmetic(
            name="cuda-core-fp64",
            sums=_chain(BINARY64),
            source=_MMASIM,
            confidence="medium",
            description="FMA chain in fp64, tensor cores too; the split of K is not known",
        ),
        Arithmetic(
            name="amx-bf16",
            inputs=BFLOAT16,
            sums=tile,
            source=f"{_SDM} TDPBF16PS",
            confidence="medium",
            description="even and odd FMA chains of up to 32 products, subnormals flushed",
        ),
        Arithmetic(
            name="avx512-bf16",
            inputs=BFLOAT16,
            sums=flushed,
            source=f"{_SDM} VDPBF16PS",
            confidence="medium",
            description="FMA chain, of each pair the second product first, subnormals flushed",
        ),
        Arithmetic(
            name="torch-cpu-fp32",
            inputs=BINARY32,
            sums=_chain(BINARY32, "blocked", block=384, halved_tail=True),
            source="measured with torch 2.13 on one x86-64 chip",
            confidence="low",
            description="FMA chains of up to 384, added; depends on the chip and the shape",
        ),
    )


CATALOGUE: tuple[Arithmetic, ...] = (
    *_native(),
    *_storage(),
    *_chains(),
    *_nvidia(),
    *_cdna(),
    *_cpu(),
)

SAME_UNIT = {"rtx30": "a100", "a2": "a100", "a30": "a100", "l40s": "ada", "rtx40": "ada"}
ALIASES = {
    "fp16-accumulate-fp16": "fp16-sequential",
    "bf16-accumulate-bf16": "bf16-sequential",
    "float64": "fp64",
    "float32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "deepgemm": "h100-fp8-promoted",
}
