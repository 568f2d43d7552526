"""A count of pieces as a sheet: what it says, and that its lines are the function."""

import numpy as np
import torch

from deephochuli.analysis import pieces
from deephochuli.pieces import count
from tests.unit.pieces.nets import he, sawtooth, unit_segment


def figure(sheet, key):
    return next(each for each in sheet.figures if each.key == key)


def test_the_answer_has_the_counts_and_how_sure_they_are():
    sure = pieces.sheet_of(count(sawtooth(3), torch.zeros(1), torch.ones(1)))
    assert sure.answer == (
        "8 activation regions and 8 affine pieces; no rounding error can change either count."
    )
    net = he([3, 8, 1], 4, bias=0.0)
    found = count(net, -0.3 * torch.ones(3), torch.ones(3))
    assert "open places: 1, and exact=True decides them" in pieces.sheet_of(found).answer


def test_the_table_counts_what_reaches_the_output():
    found = count(he([1, 9, 9, 1], 0), *unit_segment())
    (table,) = pieces.sheet_of(found).tables
    assert sum(row[1] for row in table.rows) == found.n_regions - 1
    assert sum(row[2] for row in table.rows) == found.n_pieces - 1
    assert [row[0] for row in table.rows] == ["1", "3"]


def test_the_drawn_line_is_the_function_and_the_dots_are_its_bends():
    net = he([1, 9, 9, 1], 1)
    found = count(net, *unit_segment())
    line, dots = figure(pieces.sheet_of(found), "function").series
    assert (line.mark, dots.mark) == ("line", "points")
    inputs = torch.from_numpy(2 * np.array(line.x) - 1)[:, None]
    with torch.no_grad():
        np.testing.assert_allclose(line.y, net(inputs)[:, 0], atol=1e-12)
    assert list(dots.x) == found.t[found.is_bend].tolist()


def test_a_long_count_is_drawn_with_a_limited_number_of_points():
    found = count(sawtooth(13), torch.zeros(1), torch.ones(1))
    for each in pieces.sheet_of(found).figures:
        for series in each.series:
            assert len(series.x) == len(series.y) <= pieces.MOST_POINTS
    steps = figure(pieces.sheet_of(found), "growth").series
    assert [series.y[-1] for series in steps] == [2.0**k for k in range(13)]


def test_a_function_without_bends_has_a_sheet():
    sheet = pieces.sheet_of(count(torch.nn.Linear(2, 1), torch.zeros(2), torch.ones(2)))
    assert sheet.answer.startswith("1 activation regions and 1 affine pieces")
