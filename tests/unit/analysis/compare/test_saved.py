"""Executions on disk, and two of them side by side."""

import copy
import json
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli.analysis.compare import (
    Task,
    compare_traces,
    execute,
    executor_of,
    is_saved,
    load,
    of_model,
    save,
)
from deephochuli.errors import CompareError, SchemaVersionError, StoreError


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 2))


@pytest.fixture
def task(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Task(model=model, batch=torch.randn(5, 4), optimizer=optimizer)


@pytest.fixture
def saved(task, tmp_path):
    return save(execute(task, executor_of("autocast-bf16")), tmp_path / "one")


def same(a, b):
    pairs = zip(a.tensors(), b.tensors(), strict=True)
    return all(x.dtype == y.dtype and torch.equal(x, y) for x, y in pairs)


def test_what_is_saved_comes_back_to_the_bit(task, saved):
    trace = execute(task, executor_of("autocast-bf16"))
    back = load(saved)
    assert is_saved(saved)
    assert list(back.calls) == list(trace.calls)
    assert same(trace, back)
    assert torch.bfloat16 in {tensor.dtype for tensor in back.tensors()}
    assert back.loss == trace.loss
    assert set(back.updates) == set(trace.updates)
    assert back.environment["torch"] == torch.__version__
    for name, call in trace.calls.items():
        assert (back.calls[name].kind, back.calls[name].parent) == (call.kind, call.parent)
        found = [grad is None for grad in back.calls[name].grad_inputs]
        assert found == [grad is None for grad in call.grad_inputs]


def test_a_folder_is_never_written_over(task, saved):
    with pytest.raises(StoreError, match="Name a new folder"):
        save(load(saved), saved)


def test_a_folder_without_a_description_is_no_execution(tmp_path):
    assert not is_saved(tmp_path)
    with pytest.raises(StoreError, match=r"--save FOLDER"):
        load(tmp_path)


def test_a_newer_schema_is_refused(saved):
    _edit(saved, schema_version=99)
    with pytest.raises(SchemaVersionError, match="schema 99"):
        load(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"calls": 3},
        {"unknown": 1},
        {"gradients": {"0.weight": {"key": "t9999", "dtype": "float32"}}},
        {"gradients": {"0.weight": {"key": "t0", "dtype": "object"}}},
        {"gradients": {"0.weight": {"key": "t0", "dtype": "float64"}}},
        {"environment": {"torch": 3}},
    ],
)
def test_a_damaged_description_is_a_clear_error(saved, change):
    _edit(saved, **change)
    with pytest.raises(StoreError, match="damaged"):
        load(saved)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", '"x"'])
def test_a_description_that_is_none_is_a_clear_error(saved, text):
    (saved / "trace.json").write_text(text)
    with pytest.raises(StoreError):
        load(saved)


def test_a_truncated_archive_is_a_clear_error_at_every_length(saved):
    whole = (saved / "arrays.npz").read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        (saved / "arrays.npz").write_bytes(whole[:length])
        with pytest.raises(StoreError, match="damaged"):
            load(saved)


def test_an_array_of_python_objects_is_never_unpickled(saved):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("code was run",))

    with zipfile.ZipFile(saved / "arrays.npz", "a") as archive:
        with archive.open("t99999.npy", "w") as file:
            np.lib.format.write_array(file, np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(StoreError, match="damaged"):
        load(saved)


def test_more_than_was_asked_for_is_not_read(saved):
    with pytest.raises(StoreError, match="raise max_bytes"):
        load(saved, max_bytes=10)


def _edit(folder, **change):
    path = folder / "trace.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def test_equal_executions_have_no_start(task):
    trace = execute(task, executor_of("fp32"))
    pairs = compare_traces(trace, execute(task, executor_of("fp32")))
    assert pairs.start is None
    assert all(row.made.is_exact for row in pairs.rows)


@pytest.mark.parametrize("layer", ["0", "2", "3"])
def test_the_call_that_was_given_the_same_and_made_another_is_the_start(task, layer):
    class Wrong(nn.Linear):
        def forward(self, x):
            return super().forward(x) * (1 + 2**-20)

    wrong = copy.deepcopy(task.model)
    wrong.get_submodule(layer).__class__ = Wrong
    first, second = execute(task, executor_of("fp32")), execute(task, of_model(wrong))
    pairs = compare_traces(first, second)
    assert pairs.start is not None
    assert pairs.start.layer == layer
    assert pairs.start.direction == "forward"


def test_a_difference_that_begins_in_the_backward_is_found_there(task):
    class Bend(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * (1 + 2**-12)

    class Wrong(nn.Linear):
        def forward(self, x):
            return Bend.apply(super().forward(x))

    wrong = copy.deepcopy(task.model)
    wrong[2].__class__ = Wrong
    pairs = compare_traces(execute(task, executor_of("fp32")), execute(task, of_model(wrong)))
    assert (pairs.start.layer, pairs.start.direction) == ("2", "backward")


def test_what_only_one_has_is_listed_and_shapes_are_named(task):
    other = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 6), nn.Linear(6, 2), nn.ReLU())
    pairs = compare_traces(
        execute(task, executor_of("fp32")), execute(task, of_model(other, optimizer=None))
    )
    assert pairs.only_second == (("4", 0),)
    assert {name for (name, _), _ in pairs.shapes} == {"0", "1", "2"}


def test_nothing_in_common_is_an_error(task):
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 2)

        def forward(self, x):
            return self.inner(x)

    plain = Task(model=task.model, batch=task.batch)
    with pytest.raises(CompareError, match="no layer in common"):
        compare_traces(execute(plain, executor_of("fp32")), execute(plain, of_model(Other())))


def test_what_follows_from_another_forward_is_no_start_in_the_backward():
    class Wrong(nn.Linear):
        def forward(self, x):
            return super().forward(x) * 1.5

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh())
    wrong = copy.deepcopy(model)
    wrong[0].__class__ = Wrong
    task = Task(model=model, batch=torch.randn(5, 4))
    pairs = compare_traces(execute(task, executor_of("fp32")), execute(task, of_model(wrong)))
    assert [(row.layer, row.direction) for row in pairs.rows if row.starts] == [("0", "forward")]
