"""What the doctor says, as terminal tables and as one JSON object."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from deephochuli.report._json import finding_record
from deephochuli.report._provenance import generator
from deephochuli.report._terminal import table_of
from deephochuli.report._text import plain, shortened

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from deephochuli.analysis.doctor import Diagnosis

DIAGNOSIS_SCHEMA: Final = 1
NOTHING: Final = "Nothing was found: no trap of number formats that is known here."


def diagnosis_tables(diagnosis: Diagnosis, name: str) -> list[RenderableType]:
    """Facts, dtypes and findings as tables for a rich console.

    Args:
        diagnosis: What the doctor found.
        name: What was examined; empty for the machine alone.
    """
    tables: list[RenderableType] = [_dtypes(diagnosis)] if diagnosis.dtypes else [_facts(diagnosis)]
    findings = table_of(name or "this machine", diagnosis.findings, nothing=NOTHING)
    return [*tables, findings]


def _facts(diagnosis: Diagnosis) -> Table:
    table = _empty("Arithmetic of this machine")
    for heading in ("about", "setting", "value", "what it is"):
        table.add_column(heading, overflow="fold")
    previous = ""
    topics = ["measured", *(fact.topic for fact in diagnosis.machine)]
    for fact in sorted(diagnosis.machine, key=lambda f: topics.index(f.topic)):
        value = fact.value if fact.applies else f"{fact.value} (no GPU here)"
        topic = "" if fact.topic == previous else fact.topic
        table.add_row(topic, plain(fact.setting), plain(value), fact.meaning)
        previous = fact.topic
    return table


def _dtypes(diagnosis: Diagnosis) -> Table:
    table = _empty("Dtypes")
    table.add_column("kind", style="bold")
    table.add_column("dtype")
    table.add_column("device")
    for heading in ("tensors", "elements", "MiB"):
        table.add_column(heading, justify="right")
    table.add_column("first one")
    for row in diagnosis.dtypes:
        counts = (f"{row.n_tensors:,}", f"{row.n_elements:,}", f"{row.n_bytes / 2**20:,.2f}")
        table.add_row(plain(row.kind), row.dtype, row.device, *counts, shortened(row.example, 48))
    return table


def _empty(title: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    return Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=Text(title, style="bold"),
        title_justify="left",
    )


def diagnosis_to_json(diagnosis: Diagnosis, name: str) -> dict[str, Any]:
    """What the doctor found as plain data.

    Returns:
        ``{"schema": 1, "generator": ..., "examined": ..., "machine": [...], "dtypes": [...],
        "findings": [...]}``. Fields are only ever added within one schema version.
    """
    return {
        "schema": DIAGNOSIS_SCHEMA,
        "generator": generator(),
        "examined": name,
        "machine": [asdict(fact) for fact in diagnosis.machine],
        "dtypes": [asdict(row) for row in diagnosis.dtypes],
        "findings": [finding_record(finding) for finding in diagnosis.findings],
    }
