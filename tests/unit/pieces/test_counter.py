"""One counter for many segments, tallies, and memory that does not grow with the count."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli.errors import PiecesError
from deephochuli.pieces import Counter, count, count_path, tally
from deephochuli.pieces._assembly import joined, parts
from deephochuli.pieces._crossings import T_ERROR
from deephochuli.pieces._functions import HANDLERS
from deephochuli.pieces._memory import BLOCK, fresh, recycling
from deephochuli.pieces._moves import prepare
from deephochuli.pieces._trace import trace
from deephochuli.pieces._walk import walk
from tests.unit.pieces.nets import he, linear, sawtooth, unit_segment

ZERO, ONE = torch.zeros(1), torch.ones(1)


def same(a, b):
    """Whether two counts are the same in every number."""
    columns = ("t", "jump", "layer", "unit", "is_bend")
    return (
        (a.regions, a.pieces, a.n_ambiguous) == (b.regions, b.pieces, b.n_ambiguous)
        and all(np.array_equal(getattr(a, k), getattr(b, k)) for k in columns)
    )  # fmt: skip


def test_a_counter_counts_what_count_counts():
    net = he([3, 12, 12, 2], 5)
    generator = torch.Generator().manual_seed(1)
    points = [torch.randn(3, generator=generator, dtype=torch.float64) for _ in range(4)]
    counter = Counter(net, points[0])
    path = count_path(net, points)
    for a, b, on_path in zip(points, points[1:], path, strict=False):
        assert same(counter.count(a, b), count(net, a, b))
        assert same(counter.count(a, b), on_path)


def faint():
    """A net of which some bends change the output by less than it errs."""
    net = he([3, 12, 12, 2], 6)
    net[4].weight.data[:, 4:] = 1e-30
    return net


KINDS = {
    "he": lambda: he([3, 12, 12, 2], 5),
    "dyadic": lambda: nn.Sequential(linear([[1.0, -1.0, 0.5]], [0.0]), *sawtooth(5)),
    "near its knots": lambda: he([3, 9, 9, 1], 1, bias=0.0),
    "faint": faint,
    "no chain": lambda: he([3, 9, 9, 1], 2, activation=nn.LeakyReLU),
    "a chain in front": lambda: nn.Sequential(he([3, 9, 9, 4], 3), nn.Hardtanh(), he([4, 5, 1], 3)),
}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_many_segments_are_counted_as_one_by_one(kind, exact):
    net, generator = KINDS[kind](), torch.Generator().manual_seed(2)
    starts, ends = torch.randn(2, 9, 3, generator=generator, dtype=torch.float64)
    starts[1::2], ends[1::2] = starts[1::2].round(), ends[1::2].round()
    starts[0], ends[0] = -ends[1] - 1, ends[1] + 1  # through zero, or near
    counter = Counter(net, starts[0])
    found = counter.count_many(starts, ends, exact=exact)
    assert len(found) == 9
    for a, b, each in zip(starts, ends, found, strict=True):
        alone = counter.count(a, b, exact=exact)
        assert same(each, alone)
        assert (each.n_regions, each.n_pieces) == (alone.n_regions, alone.n_pieces)
        assert (each.n_exact, each.max_error) == (alone.n_exact, alone.max_error)
        assert np.array_equal(each.evaluate(), alone.evaluate())
        assert each.is_certain or not exact
        if not exact:  # nor does it matter who judges the bends
            known = counter._program, counter._prepared, torch.stack([a, b]).numpy()
            walked = joined(parts(walk(*known, linked=counter._chains)))
            assert (each.regions, each.pieces) == (walked.regions, walked.pieces)
            assert each.n_ambiguous == len(walked.open_low)
            assert np.array_equal(each.t, walked.t)
            assert np.array_equal(each.is_bend, walked.is_bend)
    assert any(each.n_exact for each in found) or not exact or kind not in ("faint", "dyadic")
    assert sum(each.n_regions for each in found) > 40


def test_many_segments_of_which_some_are_long(monkeypatch):
    # Little memory: the long ones are cut, and short ones before and behind them are not.
    net = he([1, 32, 32, 32, 2], 0)
    counter = Counter(net, ZERO)
    starts, ends = torch.zeros(7, 1), torch.full((7, 1), 1e-3)
    starts[2], ends[2], starts[5], ends[5] = -3.0, 3.0, 3.0, -3.0
    told = []
    found = counter.count_many(
        starts, ends, most_bytes=1, report=lambda share, n: told.append((share, n))
    )
    for a, b, each in zip(starts, ends, found, strict=True):
        alone = counter.count(a, b)
        np.testing.assert_array_equal(each.unit, alone.unit)
        np.testing.assert_allclose(each.t, alone.t, atol=1e-12)
        assert each.regions == alone.regions
    assert found[2].n_regions > 64
    assert [n for share, n in told if share == 1.0] == [len(each.t) for each in found]
    assert len(told) > 9  # those that are cut tell more often


def test_many_segments_fill_several_calls(monkeypatch):
    monkeypatch.setattr("deephochuli.pieces._counter._MOST_SEGMENTS", 4)
    counter = Counter(he([1, 8, 8, 1], 0), ZERO)
    ends = torch.linspace(0.5, 2.0, 11)[:, None]
    found = counter.count_many(-ends, ends)
    alone = [counter.count(-end, end) for end in ends]
    assert all(same(a, b) for a, b in zip(found, alone, strict=True))
    assert len(found) == 11
    assert counter.count_many([], []) == ()


def test_many_segments_that_do_not_fit_are_refused():
    counter = Counter(he([2, 4, 1], 0), torch.zeros(2))
    with pytest.raises(PiecesError, match="got 3 starts, 2 ends"):
        counter.count_many(torch.zeros(3, 2), torch.ones(2, 2))
    with pytest.raises(PiecesError, match="same point"):
        counter.count_many(torch.ones(3, 2), torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 2.0]]))
    with pytest.raises(PiecesError, match="NaN or infinity"):
        counter.count_many([torch.zeros(2)], [torch.tensor([1.0, float("inf")])])
    with pytest.raises(PiecesError, match="two points or more; got 1"):
        counter.count_path([torch.zeros(2)])


def test_a_counter_keeps_the_weights_of_its_moment():
    net = he([1, 8, 1], 2)
    counter = Counter(net, ZERO)
    before = counter.count(*unit_segment())
    for weight in net.parameters():
        weight.data.numpy()[...] = 0.0  # a change that no version counter of torch sees
    assert same(counter.count(*unit_segment()), before)
    assert before.n_regions > 1
    assert Counter(net, ZERO).count(*unit_segment()).n_regions == 1


def test_a_counter_refuses_what_does_not_fit_it():
    counter = Counter(he([2, 4, 1], 0), torch.zeros(2))
    with pytest.raises(PiecesError, match=r"inputs of shape \(2,\); got \(3,\)"):
        counter.count(torch.zeros(3), torch.ones(3))
    with pytest.raises(PiecesError, match="same point"):
        counter.tally(torch.ones(2), torch.ones(2))
    with pytest.raises(PiecesError, match="got none"):
        Counter(nn.ReLU())


@pytest.mark.parametrize("most_bytes", [1 << 28, 1 << 12])
@pytest.mark.parametrize("net", [he([1, 16, 16, 16, 1], 3), sawtooth(9)], ids=["he", "sawtooth"])
def test_a_tally_says_what_the_count_says(net, most_bytes):
    ends = unit_segment() if len(net) == 7 else (ZERO, ONE)
    whole, found = count(net, *ends), tally(net, *ends, most_bytes=most_bytes)
    names = ("n_regions", "n_pieces", "regions", "pieces", "n_ambiguous", "n_units", "length")
    for name in names:
        assert getattr(found, name) == getattr(whole, name), name
    assert found.bends_by_layer == whole.bends_by_layer()
    assert found.smallest_gap == pytest.approx(whole.smallest_gap, rel=1e-9)
    assert found.max_error == pytest.approx(whole.max_error, rel=0.5)
    assert found.is_certain == whole.is_certain
    assert str(found).startswith(f"{whole.regions} regions")


def test_what_is_decided_leaves_before_the_walk_is_done():
    zero = torch.zeros(3, 1, dtype=torch.float64)
    program = trace(sawtooth(12), zero, None, HANDLERS)
    ends = np.array([[0.0], [1.0]])
    sizes = [
        len(part.t) for part in parts(walk(program, prepare(program), ends, most_bytes=1 << 15))
    ]
    assert sum(sizes) == 2**12 - 1
    assert max(sizes) <= 2**10
    # Joined again they are in order, without a bend twice or lost at a border.
    t = count(sawtooth(12), ZERO, ONE, most_bytes=1 << 15).t
    assert np.array_equal(t, np.arange(1, 2**12) / 2**12)


def test_later_chunks_reach_no_further_to_the_left_than_was_said():
    net = he([1, 64, 64, 64, 64, 64, 1], 4)
    program = trace(net, torch.zeros(3, 1, dtype=torch.float64), None, HANDLERS)
    coarse = [  # as if sums were rounded to a dozen bits: events reach into other cells
        replace(each, norms=each.norms and replace(each.norms, frobenius=2.0**40))
        for each in prepare(program)
    ]
    ends = np.array([[-1.0], [1.0]])
    trails = list(walk(program, tuple(coarse), ends, most_bytes=1))
    assert len(trails) > 4
    crossing = 0
    for i, trail in enumerate(trails[:-1]):
        later = np.concatenate([each.events.low for each in trails[i + 1 :]])
        assert later.min(initial=np.inf) >= trail.until - 2 * T_ERROR
        crossing += later.min(initial=np.inf) < trails[i].t[-1]
    assert crossing  # or else nothing of this is tested
    whole = joined(parts(walk(program, tuple(coarse), ends)))
    cut = joined(parts(trails))
    n_regions = count(net, *unit_segment()).n_regions
    assert n_regions in whole.regions
    assert n_regions in cut.regions


def test_memory_is_handed_out_again_only_when_nobody_reads_it():
    with recycling():
        first, second = fresh(BLOCK // 8, 4), fresh(BLOCK // 8, 4)
        assert not np.shares_memory(first, second)
        view, address = first[3:5], first.ctypes.data
        del first
        third = fresh(BLOCK // 8, 4)
        assert not np.shares_memory(third, view)
        del view
        assert fresh(BLOCK // 8, 4).ctypes.data == address


PEAK = """
import resource, sys, torch
from deephochuli.pieces import Counter
from tests.unit.pieces.nets import sawtooth
torch.set_num_threads(1)
zero, one = torch.zeros(1), torch.ones(1)
peaks = []
for n in (14, 20):
    found = Counter(sawtooth(n), zero).tally(zero, one)
    assert found.is_certain and found.n_pieces == 2**n, found
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""


@pytest.mark.slow
def test_a_million_pieces_take_no_more_memory_than_a_chunk():
    here = str(Path(__file__).resolve().parents[3])
    code = (
        "import sys, types; tests = types.ModuleType('tests'); "
        f"tests.__path__ = [{here + '/tests'!r}]; sys.modules['tests'] = tests\n" + PEAK
    )
    environment = os.environ | {"PYTHONPATH": here + "/src"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    # Bends and events of all pieces together would take 200 MiB.
    assert int(done.stdout) / 1024 < 48
