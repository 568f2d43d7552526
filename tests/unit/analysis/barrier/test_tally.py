"""Tallies: exact counts, merging in any order, bounded memory."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch

from deephochuli.analysis.barrier import Tally, count, merge_tallies
from deephochuli.analysis.barrier import _tally as tallies
from deephochuli.errors import SketchError

BELOW = 2.0**-3


def drawn(seed, n=3000, channels=3, dtype=torch.bfloat16):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, channels, 1, generator=generator).to(dtype)


def as_data(tally):
    data = tally.to_json()
    data["blocks"] = sorted(zip(*data["blocks"], strict=True))
    return data


def test_counts_are_those_of_numpy():
    z = drawn(0)
    z[:7] = 0
    tally = count(z, BELOW, 1 << 14)
    values = z.double().abs().numpy()[:, :, 0]
    near = values < BELOW
    assert tally.n.tolist() == [3000] * 3
    assert tally.n_zero.tolist() == (values == 0).sum(0).tolist()
    assert tally.near.tolist() == near.sum(0).tolist()
    assert tally.smallest == values[values > 0].min()
    for exponent, n in tally.histogram().items():
        assert n == ((values >= 2.0**exponent) & (values < 2.0 ** (exponent + 1))).sum()
    assert sum(tally.histogram().values()) == (values > 0).sum()
    pairs = {(c, v) for c in range(3) for v in values[:, c] if 0 < v < tally.kept_below}
    small = tally.small
    assert set(zip(small.channel.tolist(), small.magnitude.tolist(), strict=True)) == pairs
    assert small.times.sum() == (near & (values > 0)).sum()


@pytest.mark.parametrize("capacity", [5, 40, 1 << 14])
def test_parts_merge_to_the_whole_in_any_order_and_grouping(capacity):
    parts = [drawn(seed, 500) for seed in range(4)]
    counted = [count(part, BELOW, capacity) for part in parts]
    whole = merge_tallies(counted)
    for order in itertools.permutations(counted):
        a, b, c, d = order
        assert as_data(a.merge(b).merge(c.merge(d))) == as_data(whole)
        assert as_data(a.merge(b, c, d)) == as_data(whole)
    once = count(torch.cat(parts), BELOW, capacity)
    ignored = {"blocks"}
    assert {k: v for k, v in as_data(once).items() if k not in ignored} == {
        k: v for k, v in as_data(whole).items() if k not in ignored
    }


def test_memory_is_bounded_and_all_values_below_the_threshold_are_kept():
    tally = count(drawn(3, 20000, dtype=torch.float32), BELOW, 64)
    assert len(tally.small) <= 64 < int(tally.near.sum())
    first = round(np.log2(tally.near_below / tally.kept_below))
    assert tally.small.times.sum() == tally.binades[:, first:].sum() > 0


def test_equal_values_of_many_origins_keep_two_and_stay_kept():
    z = torch.full((1000, 1, 1), 2.0**-9)
    tally = count(z, BELOW, 4)
    assert tally.small.magnitude.tolist() == [2.0**-9]
    assert tally.small.times.tolist() == [1000]
    origins = np.arange(1, 101, dtype=np.uint64)
    many = tallies.Small(
        np.full(100, 0.25), np.zeros(100, np.int32), origins, np.ones(100), np.ones(100, np.int64)
    )
    assert many.joined().origin.tolist() == [1, 2]


def test_blocks_are_joined_before_there_are_too_many(monkeypatch):
    monkeypatch.setattr(tallies, "MAX_BLOCKS", 4)
    parts = [count(drawn(seed, 100), BELOW, 16) for seed in range(9)]
    merged = merge_tallies(parts)
    assert len(merged.blocks.size) <= 4
    assert merged.blocks.size.sum() == 2700
    assert merged.blocks.near.sum() == merged.near.sum()
    assert merged.smallest == min(part.smallest for part in parts)


def test_comes_back_from_json_to_the_bit():
    tally = count(drawn(5), BELOW, 50).merge(Tally.empty(3, BELOW, 50))
    back = Tally.from_json(json.loads(json.dumps(tally.to_json(), allow_nan=False)))
    assert back.to_json() == tally.to_json()
    assert all(
        getattr(back, field.name).dtype == getattr(tally, field.name).dtype
        for field in dataclasses.fields(Tally)
        if isinstance(getattr(tally, field.name), np.ndarray)
    )


def test_refuses_what_does_not_belong_together():
    tally = count(drawn(1), BELOW, 50)
    with pytest.raises(SketchError, match="same channels, threshold and capacity"):
        tally.merge(count(drawn(1), BELOW / 2, 50))
    with pytest.raises(SketchError, match="same channels"):
        tally.merge(count(drawn(1, channels=2), BELOW, 50))
    with pytest.raises(SketchError, match="at least one"):
        merge_tallies([])
