"""A part of a run answers as a run that has these chunks only."""

import numpy as np
import pytest
import torch

from deephochuli.errors import DeepHochuliWarning
from tests.unit.analysis.runs import tap, write_run


def rows(n_steps):
    draw = torch.Generator().manual_seed(0)
    return [[tap("relu", "z", torch.randn(4, 3, generator=draw))] for _ in range(n_steps)]


def test_a_part_answers_as_a_run_of_its_own(tmp_path):
    whole = write_run(tmp_path / "whole", rows(6), chunk_steps=2)
    short = write_run(tmp_path / "short", rows(4), chunk_steps=2)
    whole.all_scalars()  # what is known of the whole is not what is known of the part
    part = whole.part(lambda chunk: chunk.number < 2)
    assert part.n_chunks == 2
    assert part.steps["step"].tolist() == [0, 1, 2, 3]
    for name, values in short.all_scalars().items():
        np.testing.assert_array_equal(part.all_scalars()[name], values)
    np.testing.assert_array_equal(part.whole("relu", "z").count, short.whole("relu", "z").count)
    assert whole.steps["step"].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_part_without_chunks_is_empty(tmp_path):
    part = write_run(tmp_path / "run", rows(2)).part(lambda chunk: False)
    assert part.n_chunks == 0
    assert part.taps() == []


def test_a_damaged_chunk_is_left_out_of_the_part_and_found_by_the_run_later(tmp_path):
    run = write_run(tmp_path / "run", rows(3))
    file = tmp_path / "run" / "chunk-000001" / "taps.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0xFF
    file.write_bytes(content)
    part = run.part(lambda chunk: chunk.number >= 1)
    with pytest.warns(DeepHochuliWarning, match="read without chunk-000001"):
        assert part.scalars("relu", "z")["step"].tolist() == [2]
    assert [damage.chunk for damage in part.damaged] == ["chunk-000001"]
    assert run.damaged == []
