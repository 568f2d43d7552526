"""The arithmetics that machines and studies use, by name, each with its source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._matrix_units import MMASIM, cdna, nvidia
from deephochuli.arithmetic._sums import Sums
from deephochuli.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, E4M3FN, E5M2, TF32, Format

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
            source="PTX ISA: cvt.rna.tf32.f32",
            confidence="medium",
            description="operands rounded to TF32 by cvt.rna, ties away; sums by torch in fp32",
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


def _cpu() -> tuple[Arithmetic, ...]:
    flushed = _chain(BINARY32, "swapped", flush_subnormals=True)
    tile = _chain(BINARY32, "blocked", block=32, within="interleaved", flush_subnormals=True)
    return (
        Arithmetic(
            name="cuda-core-fp32",
            inputs=BINARY32,
            sums=_chain(BINARY32),
            source=MMASIM,
            confidence="medium",
            description="FMA chain in fp32; the split of K by a library is not known",
        ),
        Arithmetic(
            name="cuda-core-fp64",
            sums=_chain(BINARY64),
            source=MMASIM,
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
    *nvidia(),
    *cdna(),
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
