"""How answers are shown, beside the answers: a sheet registers itself for the result it shows."""

from __future__ import annotations

from functools import singledispatch

from deephochuli.analysis._sheet import Sheet
from deephochuli.errors import SheetError


@singledispatch
def sheet_for(result: object) -> Sheet:
    """Show a result of an analysis as tables and figures.

    A result knows its numbers only; the module that draws them knows the result, and says here that
    it shows it: ``@sheet_for.register(Kink)``. So neither needs the other to be imported first.

    Raises:
        SheetError: No module shows results of this kind.
    """
    raise SheetError(
        f"A result of class {type(result).__name__} has no sheet: expected a result of an "
        "analysis. Register a function for its class with sheet_for.register."
    )
