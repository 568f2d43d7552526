"""A result knows its numbers; the module that draws them registers itself for it."""

import pytest

from deephochuli.analysis import Sheet
from deephochuli.analysis._shown import sheet_for
from deephochuli.errors import SheetError


def test_what_nobody_shows_is_named():
    with pytest.raises(SheetError, match="class dict has no sheet: expected a result"):
        sheet_for({})


def test_a_function_registers_itself_for_a_class():
    class Mine:
        pass

    @sheet_for.register(Mine)
    def _(result):
        return Sheet(key="mine", title=type(result).__name__, question="?", answer="!")

    assert sheet_for(Mine()).title == "Mine"
