"""What the switches of a machine do that a user should know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from deephochuli.analysis._finding import Finding, Level
from deephochuli.analysis.doctor._machine import MIXED, Fact, has_cuda
from deephochuli.analysis.doctor._report import finding, place

_NARROW_MODES: Final = {"BF16", "F16", "FP16", "TF32", "ANY"}


def machine_findings(facts: Iterable[Fact]) -> list[Finding]:
    """Judge the facts about a machine."""
    known = list(facts)
    by_setting = {fact.setting: fact for fact in known}
    return [
        *_mixed(known),
        *_narrow_products(known),
        *_tf32_flag(by_setting),
        *_narrow_accumulation(by_setting),
        *_flushing(known),
        *_environment(by_setting),
        *_defaults(by_setting),
        *_autocast(known),
        *_determinism(by_setting),
    ]


def _say(
    kind: str, level: Level, title: str, facts: Sequence[Fact], why: str, advice: str, code: str
) -> Finding:
    """A finding about switches."""
    return finding(
        kind,
        level,
        title,
        places=[place(fact.setting, "flag") for fact in facts],
        summary="; ".join(f"{fact.setting}: {fact.value}" for fact in facts) + ".",
        why=why,
        advice=advice,
        code=code,
        score={"critical": 1.0, "warning": 0.5, "note": 0.1}[level],
    )


def _mixed(facts: list[Fact]) -> Iterator[Finding]:
    found = [fact for fact in facts if fact.value == MIXED]
    if found:
        yield _say(
            "mixed-precision-flags",
            "warning",
            "TF32 is set in the old and in the new style, which contradict each other",
            found,
            "torch raises an error wherever one of these settings is read, so which one holds "
            "cannot even be asked.",
            "Use one style only.",
            "torch.backends.cuda.matmul.fp32_precision = 'ieee'  # or 'tf32'",
        )


def _narrow_products(facts: list[Fact]) -> Iterator[Finding]:
    narrow = [f for f in facts if f.setting.startswith("FP32 ") and "p = 24" not in f.value]
    cpu = [f for f in narrow if f.setting.endswith("on cpu")]
    cuda = [f for f in narrow if f.setting.endswith("on cuda") and "convolution" not in f.setting]
    levels: tuple[tuple[list[Fact], Level], ...] = ((cpu, "warning"), (cuda, "note"))
    for found, level in levels:
        if found:
            yield _say(
                "narrow-products",
                level,
                "FP32 products round their inputs to fewer bits",
                found,
                "Tensors are FP32, but their products are not: they carry the error of a format "
                "with fewer bits. Comparisons with another machine differ by that much.",
                "Fine if it is meant. If not, ask for the full precision.",
                "torch.set_float32_matmul_precision('highest')\n"
                "torch.backends.mkldnn.fp32_precision = 'ieee'  # on CPUs",
            )


def _tf32_flag(by_setting: dict[str, Fact]) -> Iterator[Finding]:
    fact = by_setting.get("torch.get_float32_matmul_precision")
    if fact is not None and fact.value in ("high", "medium"):
        where = "" if has_cuda() else ", where a GPU can do so; there is none here"
        yield _say(
            "tf32-allowed",
            "note",
            f"FP32 matrix products may be computed in a narrower format{where}",
            [fact],
            "TF32 keeps 11 bits of each input instead of 24; sums stay in FP32.",
            "Good for speed, and harmless for most training. Not for comparisons of two "
            "implementations.",
            "torch.set_float32_matmul_precision('highest')",
        )


def _narrow_accumulation(by_setting: dict[str, Fact]) -> Iterator[Finding]:
    fact = by_setting.get("torch.backends.cuda.matmul.allow_fp16_accumulation")
    if fact is not None and fact.value == "True":
        yield _say(
            "fp16-accumulation",
            "warning" if fact.applies else "note",
            "FP16 products are summed in FP16" + ("" if fact.applies else " where there is a GPU"),
            [fact],
            "A sum in FP16 overflows at 65,520 and absorbs an addend below 2^-11 of itself: the "
            "error grows with the length of the sum.",
            "Sum in FP32.",
            "torch.backends.cuda.matmul.allow_fp16_accumulation = False",
        )


def _flushing(facts: list[Fact]) -> Iterator[Finding]:
    found = [f for f in facts if f.setting.startswith("subnormal") and f.value != "survive"]
    if found:
        is_everywhere = len(found) == 2 and found[1].value.startswith("100")
        where = "" if is_everywhere else " on some threads and not on others"
        yield _say(
            "flushed-subnormals",
            "warning",
            f"Subnormal numbers become zero{where}",
            found,
            "The gap around zero grows to the smallest normal number. Where only some threads "
            "flush, results depend on which one computes them. Libraries built for fast "
            "mathematics switch this on when they are loaded.",
            "Switch it off, or find the library that switched it on: it is the one whose import "
            "changes this measurement.",
            "torch.set_flush_denormal(False)",
        )


def _environment(by_setting: dict[str, Fact]) -> Iterator[Finding]:
    for name in ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"):
        fact = by_setting.get(name)
        if fact is not None and fact.value.upper() in _NARROW_MODES:
            yield _variable(fact)
    for name, narrow in (("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1"), ("NVIDIA_TF32_OVERRIDE", "1")):
        fact = by_setting.get(name)
        if fact is not None and fact.value == narrow:
            yield _variable(fact)


def _variable(fact: Fact) -> Finding:
    return _say(
        "narrowing-variable",
        "note",
        f"The environment variable {fact.setting} allows narrower FP32 products",
        [fact],
        "It acts before any line of code, on every program that is started from this shell. The "
        "measured products say whether it has an effect on this machine.",
        "Unset it unless it is meant.",
        f"unset {fact.setting}",
    )


def _defaults(by_setting: dict[str, Fact]) -> Iterator[Finding]:
    fact = by_setting.get("torch.get_default_dtype")
    if fact is not None and fact.value in ("float16", "bfloat16", "float64"):
        is_narrow = fact.value != "float64"
        yield _say(
            "unusual-default-dtype",
            "warning" if is_narrow else "note",
            f"New tensors are {fact.value} unless something else is said",
            [fact],
            "Constants, tables of positions, masks and optimizer states that are made without a "
            "dtype take this one. Whole numbers above "
            + ("256 in bfloat16 and 2,048 in float16 are rounded." if is_narrow else "2^53 are."),
            "Set the dtype of the model, not of everything.",
            "torch.set_default_dtype(torch.float32)",
        )


def _autocast(facts: list[Fact]) -> Iterator[Finding]:
    found = [f for f in facts if f.topic == "autocast" and f.value.startswith("on")]
    if found:
        yield _say(
            "autocast-is-on",
            "note",
            "Autocast is on where this was asked",
            found,
            "Products computed here are narrower than their inputs.",
            "Fine within the forward pass; leave it before the backward pass and the optimizer.",
            "",
        )


def _determinism(by_setting: dict[str, Fact]) -> Iterator[Finding]:
    fact = by_setting.get("torch.are_deterministic_algorithms_enabled")
    is_asked = fact is not None and fact.value == "True"
    if fact is not None and is_asked and has_cuda() and "CUBLAS_WORKSPACE_CONFIG" not in by_setting:
        yield _say(
            "not-deterministic",
            "warning",
            "Deterministic algorithms are asked for, but CUBLAS_WORKSPACE_CONFIG is not set",
            [fact],
            "Matrix products on a GPU raise an error or give results that do not repeat.",
            "Set it before the process starts.",
            "export CUBLAS_WORKSPACE_CONFIG=:4096:8",
        )
