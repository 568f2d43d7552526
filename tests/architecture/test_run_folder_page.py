"""docs/run-folder.md shows the columns as the store defines them.

After a change of the schema: python -m tests.architecture.test_run_folder_page
"""

import re

from deephochuli.store import (
    SCHEMA_VERSION,
    STEP_COLUMNS,
    TAP_COLUMNS,
    Column,
    Manifest,
    RunWriter,
    StepRow,
)
from tests.architecture.project import ROOT

PAGE = ROOT / "docs" / "run-folder.md"
TYPES = {
    "text": "string (dictionary)",
    "i2": "int16",
    "u2": "uint16",
    "i4": "int32",
    "i8": "int64",
    "f8": "float64",
    "bool": "bool",
}
MARK = re.compile(r"(<!-- (\w+) columns -->\n).*?(<!-- end -->)", re.DOTALL)


def table(columns: tuple[Column, ...]) -> str:
    """The columns as a Markdown table."""
    lines = ["| Column | Type | Meaning |", "| --- | --- | --- |"]
    for column in columns:
        kind = f"list of {TYPES[column.kind]}" if column.is_list else TYPES[column.kind]
        kind += ", nullable" if column.nullable else ""
        meaning = column.meaning.replace("|", "\\|")
        lines.append(f"| `{column.name}` | {kind} | {meaning} |")
    return "\n".join(lines) + "\n"


def with_tables(text: str) -> str:
    """The page with its tables made anew."""
    columns = {"tap": tuple(TAP_COLUMNS), "step": tuple(STEP_COLUMNS)}
    return MARK.sub(lambda found: found[1] + table(columns[found[2]]) + found[3], text)


def test_the_page_shows_the_columns_of_the_store():
    text = PAGE.read_text("utf-8")
    assert len(MARK.findall(text)) == 2
    assert with_tables(text) == text, f"run: python -m {__name__}"


def test_the_page_names_the_version_of_the_schema():
    assert f"schema version {SCHEMA_VERSION}" in PAGE.read_text("utf-8")


def test_the_example_of_the_page_runs(tmp_path, monkeypatch):
    from tests.unit.cli.conftest import tap

    lost = {"n_updatable": 4, "n_unmoved": 3}
    monkeypatch.chdir(tmp_path)
    with RunWriter(tmp_path / "runs" / "a", Manifest(), chunk_steps=1) as writer:
        for step in range(3):
            taps = [tap(name, "dw", [2.0**-9] * 4, **lost) for name in ("a", "b")]
            writer.append(StepRow(step=step, wall_s=0.0), taps[step % 2 :])
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    sums = names["sums"].to_pydict()
    assert dict(zip(sums["layer"], sums["n_unmoved_sum"], strict=True)) == {"a": 6, "b": 9}
    assert dict(zip(sums["layer"], sums["n_updatable_sum"], strict=True)) == {"a": 8, "b": 12}


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), encoding="utf-8")
