"""Checkpoints are read without running anything in them; a damaged one is refused with a word."""

import json
import random

import pytest
import torch

from deephochuli.analysis.doctor import doctor
from deephochuli.errors import TapError

TENSORS = {
    "model.rotary.inv_freq": (10_000.0 ** -(torch.arange(0, 32, 2) / 32)).bfloat16(),
    "model.embed.weight": torch.randn(8, 4, generator=torch.Generator().manual_seed(0)),
    "model.position_ids": torch.arange(300).bfloat16(),
    "model.norm.num_batches_tracked": torch.tensor(3, dtype=torch.int64),
    "model.scale": torch.tensor([float("nan"), 1.0]),
    "model.empty": torch.empty(0, 4),
    "model.eight": torch.ones(4).to(torch.float8_e4m3fn),
    "model.odd": torch.ones(3, dtype=torch.int8),
    "model.unaligned": torch.linspace(1, 2, 5, dtype=torch.float64),
}
NAMES = {
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.int64: "I64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int8: "I8",
    torch.float64: "F64",
}


def written(path, tensors):
    """Write a file by the specification, independently of the reader."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in tensors.items():
        raw = bytes(tensor.contiguous().reshape(-1).view(torch.uint8).tolist())
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_traps_in_a_checkpoint_are_found(tmp_path):
    diagnosis = doctor(written(tmp_path / "model.safetensors", TENSORS))
    assert {(f.kind, f.layer) for f in diagnosis.findings} == {
        ("colliding-integers", "model.position_ids"),
        ("nonfinite-values", "model.scale"),
        ("coarse-frequencies", "model.rotary.inv_freq"),
    }
    rows = {row.dtype: (row.n_tensors, row.n_elements) for row in diagnosis.dtypes}
    assert rows["bfloat16"] == (2, 316)
    assert rows["float8_e4m3fn"] == (1, 4)
    assert rows["float64"] == (1, 5)


def test_values_are_the_ones_that_were_saved(tmp_path):
    from deephochuli.analysis.doctor._checkpoint import read_checkpoint

    read = read_checkpoint(written(tmp_path / "model.safetensors", TENSORS)).tensors
    for held in read:
        saved = TENSORS[held.name]
        assert (held.tensor.dtype, held.tensor.shape) == (saved.dtype, saved.shape)
        assert torch.equal(
            held.tensor.reshape(-1).view(torch.uint8), saved.reshape(-1).view(torch.uint8)
        )
    assert {held.name for held in read} == TENSORS.keys()


def test_files_of_the_safetensors_library_are_read(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    library.save_file(TENSORS, tmp_path / "model.safetensors")
    by_library = doctor(tmp_path / "model.safetensors")
    own = doctor(written(tmp_path / "own.safetensors", TENSORS))
    assert {f.kind for f in by_library.findings} == {f.kind for f in own.findings}
    assert len(by_library.dtypes) == len(own.dtypes)


def test_a_folder_is_all_its_files(tmp_path):
    for index, (name, tensor) in enumerate(TENSORS.items()):
        written(tmp_path / f"model-{index}.safetensors", {name: tensor})
    assert sum(row.n_tensors for row in doctor(tmp_path).dtypes) == len(TENSORS)


def test_a_folder_without_checkpoints(tmp_path):
    with pytest.raises(TapError, match="No file with the suffix"):
        doctor(tmp_path)
    with pytest.raises(TapError, match="Cannot read"):
        doctor(tmp_path / "missing.safetensors")


def header(**entries):
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


def entry(offsets=(0, 4), dtype="F32", shape=(1,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


BROKEN = {
    "empty": b"",
    "short": b"\1\2\3",
    "lying length": (2**63).to_bytes(8, "little") + b"{}",
    "no JSON": (2).to_bytes(8, "little") + b"{]",
    "no text": (2).to_bytes(8, "little") + b"\xff\xfe",
    "deep": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "no object": (2).to_bytes(8, "little") + b"[]",
    "beyond the end": header(a=entry((0, 8), shape=(2,))) + b"1234",
    "overlap": header(a=entry(), b=entry((2, 6))) + b"123456",
    "negative": header(a=entry((-4, 0))) + b"1234",
    "reversed": header(a=entry((4, 0))) + b"1234",
    "wrong size": header(a=entry(shape=(3,))) + b"1234",
    "huge shape": header(a=entry(shape=(2**61, 2**61))) + b"1234",
    "shape of text": header(a=entry() | {"shape": "11"}) + b"1234",
    "bool shape": header(a=entry() | {"shape": [True]}) + b"1234",
    "no offsets": header(a={"dtype": "F32", "shape": [1]}) + b"1234",
    "entry is a number": header(a=1),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_file_is_refused(tmp_path, name):
    path = tmp_path / "model.safetensors"
    path.write_bytes(BROKEN[name])
    with pytest.raises(TapError, match="damaged or no safetensors file"):
        doctor(path)


def test_random_damage_is_refused_or_read(tmp_path):
    whole = written(tmp_path / "model.safetensors", TENSORS).read_bytes()
    path, draw = tmp_path / "damaged.safetensors", random.Random(0)
    for _ in range(150):
        data = bytearray(whole[: draw.randrange(len(whole) + 1)] if draw.random() < 0.3 else whole)
        for _ in range(draw.randrange(1, 4) if data else 0):
            data[draw.randrange(min(len(data), 900))] = draw.randrange(256)
        path.write_bytes(data)
        try:
            doctor(path)
        except TapError:
            continue


def test_an_unknown_dtype_is_passed_over(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(header(a=entry(dtype="F4"), b=entry((4, 8))) + b"\0" * 8)
    assert [row.dtype for row in doctor(path).dtypes] == ["float32"]
