"""What Python and CUDA C++ agree on, and which kernel a tensor is given to; no GPU is needed."""

import ctypes
import re

import pytest
import torch

from deephochuli import kernels
from deephochuli.errors import DeepHochuliWarning
from deephochuli.kernels import _device_rows as rows
from deephochuli.kernels import _nvrtc_counter as launching
from deephochuli.kernels._counter import Channels
from deephochuli.kernels._nvrtc import compile_kernel

SOURCE = launching._source()


def constants():
    """The numbers that the source gives names to."""
    found = {}
    for body in re.findall(r"enum \{([^}]*)\}", SOURCE):
        for name, value in re.findall(r"(\w+) = ([^,]+)", body):
            numbers = {name: str(number) for name, number in found.items()}
            terms = re.sub(r"[A-Z]\w*", lambda match, n=numbers: n[match[0]], value)
            found[name] = whole(terms)
    return found


def whole(text):
    """A sum of numbers, products of two and powers of two."""
    total = 0
    for term in text.split("+"):
        factors = [1 << int(f.split("<<")[1]) if "<<" in f else int(f) for f in term.split("*")]
        product = 1
        for factor in factors:
            product *= factor
        total += product
    return total


def fields_of(name):
    """The fields of a structure of the source, and whether each has eight bytes."""
    body = re.search(rf"struct {name} \{{(.*?)\n\}};", SOURCE, re.DOTALL)[1]
    lines = [line.split("//")[0].strip() for line in body.strip().splitlines()]
    return [line.rstrip(";").split()[-1].lstrip("*") for line in lines if line], body


@pytest.mark.parametrize(
    "name",
    [
        *("N_MAIN", "TINY_HALF", "SUM_AT", "LOW_AT", "ROW_WORDS", "N_RATIOS", "RATIO_ZERO"),
        *("EXTRA_WORDS", "BINARY32", "BFLOAT16", "BINARY16", "TABLE8"),
    ],
)
def test_rows_are_laid_out_alike(name):
    assert constants()[name] == getattr(rows, name)


@pytest.mark.parametrize("name", ["THREADS", "MOST_SHARED_CHANNELS"])
def test_launches_know_the_limits_of_the_kernels(name):
    assert constants()[name] == getattr(launching, name)


@pytest.mark.parametrize("kind", [launching._Job, launching._Tables])
def test_arguments_have_the_fields_of_the_structures(kind):
    names, body = fields_of(kind.__name__.lstrip("_"))
    assert names == [name for name, _ in kind._fields_]
    assert not re.search(r"\b(int|unsigned|float)\s+\w", body), "all fields have eight bytes"
    assert ctypes.sizeof(kind) == 8 * len(names)


class Noted(launching.NvrtcCounter):
    """Notes launches, as for a GPU of 132 multiprocessors."""

    def __init__(self):
        self._most = 6 * 132
        self.launches = []

    def _launch(self, name, grid, argument, shared=0):
        values = {field: getattr(argument, field) for field, _ in argument._fields_}
        self.launches.append((name, grid, values, shared))


def launch_of(x, dim=None):
    """What is launched for a tensor."""
    counter, words = Noted(), torch.zeros(8 * rows.ROW_WORDS, dtype=torch.int64)
    channels = None
    if dim is not None:
        counts = torch.zeros(10 + 3 * x.shape[dim], dtype=torch.int64)
        inner = x.numel() if x.shape[dim] == 1 else x.stride(dim)
        channels = Channels(counts, 10, x.shape[dim], inner)
    counter.count(words, 3, x, rows.KINDS[x.dtype], torch.zeros(1), channels)
    [(name, grid, job, shared)] = counter.launches
    assert job["data"] == x.data_ptr()
    assert job["row"] == words.data_ptr() + 8 * 3 * rows.ROW_WORDS
    assert job["n"] == x.numel()
    if channels is not None:
        assert job["counts"] == channels.counts.data_ptr() + 80
        assert job["n_channels"] == x.shape[dim]
    assert 1 <= grid[0] * grid[1]
    return name, grid, job, shared


def test_what_begins_at_a_word_is_read_by_words():
    x = torch.zeros(1001)
    assert launch_of(x)[:2] == ("count_tensor<0, true, false>", (1, 1))
    assert launch_of(x[1:])[0] == "count_tensor<0, false, false>"
    assert launch_of(torch.zeros(64, dtype=torch.bfloat16))[0] == "count_tensor<2, true, false>"


def test_codes_of_eight_bits_are_counted_as_codes():
    x = torch.zeros(100).to(torch.float8_e5m2)
    assert launch_of(x)[0] == "count_codes<4>"
    assert launch_of(x.reshape(25, 4), 1)[0] == "count_tensor<4, false, true>"


def test_blocks_are_as_many_as_pay_and_as_fit():
    assert launch_of(torch.zeros(1))[1] == (1, 1)
    assert launch_of(torch.zeros(1 << 15))[1] == (4, 1)
    assert launch_of(torch.zeros(1 << 23))[1] == (792, 1)


@pytest.mark.parametrize("n", [1, 3, 8, 64, 1024, 1032, 50257])
def test_every_column_has_a_thread(n):
    name, grid, job, shared = launch_of(torch.zeros(2, n, dtype=torch.bfloat16), 1)
    if n == 1:
        assert name.startswith("count_planes<2")
        return
    by_word = n % 8 == 0
    assert name == f"count_tensor<2, {str(by_word).lower()}, true>"
    assert job["columns"] == (n // 8 if by_word else n)
    assert grid[0] * launching.THREADS >= job["columns"]
    assert shared == (12 * n if n <= 1024 else 0)


def test_planes_of_whole_words_are_read_by_words():
    name, grid, job, _ = launch_of(torch.zeros(4, 16, 32, 32), 1)
    assert (name, grid, job["inner"]) == ("count_planes<0, true>", (1, 8), 1024)
    assert launch_of(torch.zeros(4, 16, 7, 7), 1)[0] == "count_planes<0, false>"
    name, grid, _, _ = launch_of(torch.zeros(64, 16, 64, 64), 1)
    assert grid == (32, 16)
    assert launch_of(torch.zeros(2, 3000, 8, 8), 1)[1][1] <= 3000


def test_a_device_that_other_kernels_serve_has_a_reason(monkeypatch):
    gpu = torch.device("cuda:0")
    assert launching.reason_against(torch.device("cpu")) == "cpu is no GPU"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert "compute capability 7.5, and 8.0 is needed" in launching.reason_against(gpu)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))

    def fails(self, device):
        raise OSError("Could not find any NVRTC library")

    monkeypatch.setattr(launching.NvrtcCounter, "__init__", fails)
    assert "Could not find any NVRTC" in launching.reason_against(gpu)


def test_triton_serves_then_and_that_is_said(monkeypatch):
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setattr(launching, "reason_against", lambda device: "no compiler here")
    with pytest.warns(DeepHochuliWarning, match=r"no compiler here.*counting in Triton"):
        backend = kernels.cuda_backend.__wrapped__(torch.device("cuda:0"))
    assert backend.name == "triton"


@pytest.mark.skipif(torch.version.cuda is None, reason="this torch brings no NVRTC")
@pytest.mark.parametrize("kind", [rows.BINARY32, rows.BFLOAT16, rows.BINARY16, rows.TABLE8])
def test_every_kernel_compiles_without_a_gpu(kind):
    names = [f"count_codes<{kind}>"] if kind == rows.TABLE8 else []
    flags = ("false", "true")
    names += [f"count_tensor<{kind}, {a}, {b}>" for a in flags for b in flags]
    names += [f"count_planes<{kind}, {a}>" for a in flags]
    names += [f"count_many<{kind}>", *(f"count_updates<{kind}, {a}>" for a in flags)]
    for name in names:
        code, lowered = compile_kernel(SOURCE, name, "sm_90")
        assert code.startswith(b"\x7fELF")
        assert lowered.encode() in code


@pytest.mark.skipif(torch.version.cuda is None, reason="this torch brings no NVRTC")
def test_what_the_compiler_says_is_handed_on():
    with pytest.raises(RuntimeError, match=r"nothing.*sm_90.*undefined"):
        compile_kernel("__global__ void nothing() { x = 1; }", "nothing", "sm_90")
