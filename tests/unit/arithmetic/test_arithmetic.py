"""Arithmetics as values: what they accept, what they say when they do not, the catalogue."""

from dataclasses import replace

import pytest

from deephochuli.arithmetic import Arithmetic, Sums, get_arithmetic, list_arithmetics
from deephochuli.errors import ArithmeticSpecError
from deephochuli.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, E4M3FNUZ, TF32


def test_names_are_found_in_any_spelling():
    assert get_arithmetic("A100_FP16") is get_arithmetic("a100-fp16")
    assert get_arithmetic("h200-bf16") is get_arithmetic("h100-bf16")
    assert get_arithmetic("rtx40-fp8") is get_arithmetic("ada-fp8")
    assert get_arithmetic("fp16-accumulate-fp16") is get_arithmetic("fp16-sequential")
    it = get_arithmetic("bf16")
    assert get_arithmetic(it) is it


def test_an_unknown_name_suggests_near_ones():
    with pytest.raises(ArithmeticSpecError, match="Did you mean 'a100-fp16'"):
        get_arithmetic("a100-fp61")


def test_the_catalogue_names_its_sources():
    names = [it.name for it in list_arithmetics()]
    assert len(names) == len(set(names))
    for it in list_arithmetics():
        assert it.source, it.name
        assert it.description, it.name
    low = {it.name for it in list_arithmetics() if it.confidence in ("low", "unknown")}
    blackwell = ("b200-fp8", "b200-fp8-e5m2")
    wide = {f"{name}{out}" for name in blackwell for out in ("", "-accumulate-fp16")}
    assert low == {"torch-cpu-fp32", *wide}


def test_arithmetics_are_values_that_replace_changes():
    base = get_arithmetic("h100-fp8")
    mine = replace(base, name="mine", sums=replace(base.sums, chunk=64, outer=BINARY32))
    assert mine.sums.chunk == 64
    assert base.sums.chunk is None
    assert hash(mine) != hash(base)
    assert str(mine) == "mine"


SUMS = {
    "Did you mean 'aligned'": {"kind": "alligned"},
    "Did you mean 'pairwise'": {"kind": "chain", "order": "pairwize"},
    "block=0": {"kind": "exact", "block": 0},
    "deterministic": {"kind": "chain", "rounding": "stochastic"},
    "belong together": {"kind": "chain", "chunk": 4},
    "torch adds in fp32 or fp64": {"format": BINARY16},
    "order of native sums": {"block": 4},
    "signed zeros": {"kind": "chain", "format": E4M3FNUZ},
    "others none": {"kind": "exact", "order": "pairwise"},
    "chains have every order but 'paired'": {"kind": "chain", "order": "paired"},
    "multiple of 4": {
        **{"kind": "aligned", "block": 2, "fraction_bits": 24, "order": "paired"},
        **{"chunk": 6, "outer": BINARY32},
    },
    "order='blocked' with block=None": {"kind": "chain", "order": "blocked"},
    "not blocked": {"kind": "chain", "within": "pairwise"},
    "two levels already": {
        **{"kind": "chain", "order": "blocked", "block": 2},
        **{"chunk": 4, "outer": BINARY32},
    },
    "halved_tail": {"kind": "chain", "halved_tail": True},
    "chains in fp32": {"kind": "chain", "format": BINARY16, "flush_subnormals": True},
    "needs block and fraction_bits": {"kind": "aligned"},
    "inside fp32": {"kind": "aligned", "block": 4, "fraction_bits": 24, "format": BINARY64},
    "1 to 40": {"kind": "aligned", "block": 4, "fraction_bits": 50},
    "'toward-zero' or 'down'": {
        **{"kind": "aligned", "block": 4, "fraction_bits": 24},
        **{"alignment": "up"},
    },
    "split needs": {"kind": "aligned", "block": 4, "fraction_bits": 24, "split": True},
    "late_bits=3": {"kind": "aligned", "block": 4, "fraction_bits": 24, "late_bits": 3},
    "multiple of block": {
        **{"kind": "aligned", "block": 4, "fraction_bits": 24},
        **{"chunk": 6, "outer": BINARY32},
    },
    "for kind='aligned'": {"kind": "chain", "fraction_bits": 3},
    "nearest-even in fp64": {"kind": "chain", "format": BINARY64, "rounding": "down"},
}


@pytest.mark.parametrize("message", SUMS)
def test_contradictory_sums_are_refused(message):
    with pytest.raises(ArithmeticSpecError, match=message):
        Sums(**SUMS[message])


CHAIN = Sums(kind="chain", format=BINARY16)
ARITHMETICS = {
    "not empty": {"name": ""},
    "confidence='sure'": {"name": "x", "confidence": "sure"},
    "stochastically": {"name": "x", "input_rounding": "stochastic"},
    "need a format of the inputs": {"name": "x", "sums": CHAIN},
    "do not fit into fp32": {"name": "x", "sums": CHAIN, "inputs": BINARY64},
    "a backward arithmetic of its own": {
        "name": "x",
        "backward": Arithmetic(name="y", backward=Arithmetic(name="z")),
    },
}


@pytest.mark.parametrize("message", ARITHMETICS)
def test_contradictory_arithmetics_are_refused(message):
    with pytest.raises(ArithmeticSpecError, match=message):
        Arithmetic(**ARITHMETICS[message])


def test_sums_describe_themselves():
    assert str(get_arithmetic("a100-tf32").sums) == (
        "aligned, fp32 toward-zero, 4 a block, 24 fraction bits"
    )
    assert str(get_arithmetic("fp32").sums) == "native (fp32)"
    assert get_arithmetic("tf32").inputs == TF32
    assert get_arithmetic("bf16-pure").optimizer == BFLOAT16
