"""What docs/configuration.md shows is read as it says, and refused with the words that it shows."""

import pytest

from deephochuli.cli import main
from deephochuli.config import read_config
from tests.architecture.project import ROOT
from tests.docs.blocks import blocks_of

PAGE = ROOT / "docs" / "configuration.md"
FAULTY = """\
[record]
evry = 10
watch = ["explosion"]

[report]
fail_on = "catastrophe"
"""


@pytest.fixture(scope="module")
def blocks():
    return blocks_of(PAGE, PAGE.read_text("utf-8"))


def test_the_file_that_it_shows_is_right(blocks, tmp_path):
    (block,) = [block for block in blocks if block.language == "toml"]
    file = tmp_path / "deephochuli.toml"
    file.write_text(block.code)
    assert set(read_config(file).tables) == {"record", "report", "diff"}


def test_the_message_that_it_shows_is_the_one_that_appears(blocks, tmp_path, monkeypatch, capsys):
    (block,) = [block for block in blocks if block.language == "text"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deephochuli.toml").write_text(FAULTY)
    assert main(["formats"], exits=False) == 2
    assert capsys.readouterr().err == block.code


def test_the_settings_that_can_name_code_are_those_that_it_names():
    from deephochuli.config._read import _properties
    from deephochuli.config._schema import Settings

    text = PAGE.read_text("utf-8").partition("## A file from somebody else")[2]
    named = {
        (table, setting)
        for table in Settings.model_fields
        for setting, schema in _properties(table).items()
        if schema.get("x-code")
    }
    assert {table for table, _ in named} == {"compare", "examine", "study"}
    assert all(f"`{setting}`" in text and f"`[{table}]`" in text for table, setting in named)
