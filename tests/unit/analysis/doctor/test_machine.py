"""What torch really does here is measured, what its switches say is read, nothing is changed."""

import random
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from deephochuli.analysis.doctor import _machine, _machine_findings, _probes, doctor
from deephochuli.analysis.doctor._machine_findings import machine_findings

MATMUL = torch.backends.cuda.matmul


def kinds():
    return {finding.kind: finding.level for finding in doctor().findings}


def value_of(setting):
    return next(fact.value for fact in doctor().machine if fact.setting == setting)


def cut(x, bits):
    """Keep some bits behind the leading one, by masking the pattern."""
    drop = 23 - bits
    return (x.view(torch.int32) >> drop << drop).view(torch.float32)


@pytest.mark.parametrize(("bits", "p"), [(23, 24), (15, 16), (10, 11), (7, 8)])
@pytest.mark.parametrize("way", [_probes.by_matrix, _probes.by_layer, _probes.by_convolution])
def test_the_precision_of_products_is_measured(way, bits, p):
    assert _probes.precision_of(lambda a, b: way(cut(a, bits), cut(b, bits)), "cpu") == p


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_narrow_accumulator_is_measured(dtype, monkeypatch):
    def one_by_one(left, right):
        total = torch.zeros(len(left), right.shape[1], dtype=dtype)
        for k in range(left.shape[1]):
            total = total + left[:, k : k + 1] * right[k : k + 1]
        return total

    assert _probes.keeps_small_addends(dtype, "cpu") == (
        float(torch.ones(1, 512, dtype=dtype) @ torch.ones(512, 1, dtype=dtype)) == 512
    )
    monkeypatch.setattr(_probes, "by_matrix", one_by_one)
    assert not _probes.keeps_small_addends(dtype, "cpu")


def test_flushing_is_measured_on_this_thread_and_in_the_pool():
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormal numbers")
    threads = torch.get_num_threads()
    try:
        assert kinds() == {"flushed-subnormals": "warning"}
        torch.set_num_threads(2)  # the flag holds for the thread that set it
        assert 0 < _probes.flushed(2).share <= 1
        assert _probes.flushed(2).here
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)
    assert _probes.flushed(1) == _probes.Flushed(here=False, share=0.0)


@contextmanager
def matmul_precision(value):
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(value)
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def default_dtype(value):
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(value)
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def fp16_accumulation():
    before = MATMUL.allow_fp16_accumulation
    try:
        MATMUL.allow_fp16_accumulation = True
        yield
    finally:
        MATMUL.allow_fp16_accumulation = before


@contextmanager
def variable(name, value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, value)
        yield


SWITCHES = {
    "high": (lambda: matmul_precision("high"), "tf32-allowed"),
    "medium": (lambda: matmul_precision("medium"), "tf32-allowed"),
    "FP16 accumulation": (fp16_accumulation, "fp16-accumulation"),
    "default BF16": (lambda: default_dtype(torch.bfloat16), "unusual-default-dtype"),
    "default FP64": (lambda: default_dtype(torch.float64), "unusual-default-dtype"),
    "autocast": (lambda: torch.autocast("cpu", torch.bfloat16), "autocast-is-on"),
    "oneDNN": (lambda: variable("ONEDNN_DEFAULT_FPMATH_MODE", "BF16"), "narrowing-variable"),
    "oneDNN's old name": (
        lambda: variable("DNNL_DEFAULT_FPMATH_MODE", "any"),
        "narrowing-variable",
    ),
    "cuBLAS": (lambda: variable("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1"), "narrowing-variable"),
}


def measured_too(kind):
    """What a GPU that has TF32 is found to do when a switch allows it."""
    has_tf32 = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
    return {"narrow-products"} if has_tf32 and kind == "tf32-allowed" else set()


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_found(name):
    switch, kind = SWITCHES[name]
    assert kind not in kinds()
    with switch():
        assert set(kinds()) == {kind, *measured_too(kind)}
    assert kinds() == {}


def test_a_plain_machine_gets_no_word():
    assert kinds() == {}


def test_products_are_measured_as_plain_code_makes_them_also_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert value_of("FP32 matrix product on cpu").endswith(value_p())


def value_p():
    """What this machine does without autocast."""
    return f"p = {_probes.precision_of(_probes.by_matrix, 'cpu')}"


def facts_with(setting, value, applies=True):
    return [_machine.Fact("", setting, value, "", applies)]


@pytest.mark.parametrize(
    ("setting", "value", "kind"),
    [
        ("FP32 matrix product on cpu", "BF16, p = 8", "narrow-products"),
        ("FP32 matrix product on cuda", "TF32 (or FP16), p = 11", "narrow-products"),
        ("torch.backends.cuda.matmul.allow_tf32", _machine.MIXED, "mixed-precision-flags"),
    ],
)
def test_what_this_machine_cannot_do_is_judged_from_its_facts(setting, value, kind):
    assert [finding.kind for finding in machine_findings(facts_with(setting, value))] == [kind]


def test_deterministic_algorithms_without_their_workspace(monkeypatch):
    facts = facts_with("torch.are_deterministic_algorithms_enabled", "True")
    monkeypatch.setattr(_machine_findings, "has_cuda", lambda: False)
    assert machine_findings(facts) == []
    monkeypatch.setattr(_machine_findings, "has_cuda", lambda: True)
    assert [f.kind for f in machine_findings(facts)] == ["not-deterministic"]
    assert machine_findings([*facts, *facts_with("CUBLAS_WORKSPACE_CONFIG", ":4096:8")]) == []


def test_settings_of_two_styles_that_contradict_are_found(monkeypatch):
    class Refuses:
        @property
        def allow_tf32(self):
            raise RuntimeError("PyTorch is checking ... you have used mix of the legacy and new")

    monkeypatch.setattr(torch.backends.cuda, "matmul", Refuses())
    assert _machine.read_flag("backends.cuda.matmul.allow_tf32") == _machine.MIXED
    assert _machine.read_flag("backends.cuda.matmul.no_such_flag") == _machine.ABSENT
    assert "mixed-precision-flags" in kinds()


def state_of_the_process():
    flags = [_machine.read_flag(path) for _, path, _, _ in _machine._FLAGS]
    numbers = [torch.get_rng_state().tolist(), repr(random.getstate())]
    numbers.append(str(np.random.get_state()))  # noqa: NPY002 - also the old generator
    return [*flags, *numbers, torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")]


def test_nothing_is_changed():
    before = state_of_the_process()
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        doctor(model, torch.optim.Adam(model.parameters()))
    assert state_of_the_process() != before  # the model drew its weights
    before = state_of_the_process()
    doctor(model)
    assert state_of_the_process() == before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_every_fact_is_text_and_every_topic_has_one():
    facts = doctor().machine
    assert all(isinstance(fact.value, str) and fact.value for fact in facts)
    assert {"measured", "FP32 products", "autocast", "threads"} <= {fact.topic for fact in facts}


@pytest.mark.cuda
def test_products_on_a_gpu_are_what_the_flag_says():
    with matmul_precision("highest"):
        assert value_of("FP32 matrix product on cuda") == "FP32, p = 24"
    with matmul_precision("high"):
        assert value_of("FP32 matrix product on cuda").endswith("p = 11")
