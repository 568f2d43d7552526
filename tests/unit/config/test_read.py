"""What a file says is taken; what is wrong with it is told at once, with lines and ways out."""

import subprocess
import sys

import pytest

from deephochuli.config import Config, find_config, is_quantity, is_schedule, read_config
from deephochuli.config._lines import lines_of
from deephochuli.errors import ConfigError


@pytest.fixture
def read(tmp_path):
    def from_text(text, **options) -> Config:
        file = tmp_path / "deephochuli.toml"
        file.write_text(text, encoding="utf-8")
        return read_config(file, **options)

    return from_text


def refusal(read, text, **options):
    with pytest.raises(ConfigError) as caught:
        read(text, **options)
    return str(caught.value)


def test_only_what_stands_in_the_file_is_said(read):
    found = read('[record]\nevery = 10\n[report]\nfail_on = "warning"\n')
    assert found.tables == {"record": {"every": 10}, "report": {"fail_on": "warning"}}
    assert found.settings.record.max_bytes is None
    assert found.of_command("report") == {"fail_on": "warning"}


def test_a_command_reads_the_tables_that_it_shares(read):
    found = read('[record]\nevery = [0, 5]\nto = "runs/x"\n[run]\nquiet = true\n')
    assert found.of_command("run") == {"every": "0:1,5:6", "to": "runs/x", "quiet": True}
    assert found.of_command("report") == {}


def test_words_that_python_reserves_are_names_too(read):
    found = read('[compare]\nas = "native"\njson = true\n[pieces]\nfrom = "a.npy"\n')
    assert found.of_command("compare") == {"as": "native", "json": True}
    assert found.of_command("pieces") == {"from": "a.npy"}


def test_all_faults_are_told_at_once_in_the_order_of_the_file(read):
    text = "\n".join(
        [
            "[recrod]",
            "every = 3",
            "[record]",
            "evry = 10",
            'every = "sometimes"',
            'watch = ["explosion"]',
            "max_bytes = -3",
            'select = ["re:("]',
            "[report]",
            'fail_on = "catastrophe"',
            "json = 1",
            "[pieces]",
            "samples = [1, 2, 3]",
            "[watch]",
            "every = 0.01",
        ]
    )
    lines = refusal(read, text).splitlines()
    assert lines[0].endswith("deephochuli.toml cannot be used: 10 faults.")
    assert lines[1:] == [
        "  line 1, [recrod]: no such table. Did you mean 'record' or 'report'?",
        "  line 4, [record] evry: no such setting. Did you mean 'every'?",
        "  line 5, [record] every: got 'sometimes' (text); expected a number n for every n-th "
        "step, 'log', 'auto', ranges such as '0:100,1000:2000:10', or a list of steps.",
        "  line 6, [record] watch: got ['explosion'] (list); expected a list of 'nonfinite' or "
        "'loss-spike' or 'swamped' or 'underflow'.",
        "  line 7, [record] max_bytes: got -3 (whole number); expected a whole number above 0.",
        "  line 8, [record] select: got ['re:('] (list); expected a list of globs, and of regular "
        "expressions that begin with 're:'.",
        "  line 10, [report] fail_on: got 'catastrophe' (text); expected 'critical' or 'warning'.",
        "  line 11, [report] json: got 1 (whole number); expected true or false.",
        "  line 13, [pieces] samples: got [1, 2, 3] (list); expected two numbers of samples.",
        "  line 15, [watch] every: got 0.01 (number); expected a number from 0.1.",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("record = 3", "line 1, [record]: got 3 (whole number); expected a table"),
        ("[record]\nevery = true", "got true (true or false); expected a number n"),
        ("[record]\nevery = 0", "expected a number n"),
        ("[record]\nevery = []", "expected a number n"),
        ('[record]\nmax_bytes = "1"', "got '1' (text); expected a whole number above 0"),
        ('[record]\nquantity = ["weights"]', "expected a list of z, a, dz, da, w, g, dw, state"),
        ('[diff]\nrename = ["a"]', "expected a list of OLD=NEW"),
        ('[examine]\nset = ["=16"]', "expected a list of NAME=VALUE"),
        ("[serve]\nport = 70000", "expected a whole number from 0 to 65535"),
        ("[compare]\nseed = 1.5", "got 1.5 (number); expected a whole number"),
        ("[record]\nevery = 1979-05-27", "(date); expected a number n"),
    ],
)
def test_a_value_of_another_kind_is_refused(read, text, message):
    assert message in refusal(read, text)


def test_a_long_value_is_cut_short(read):
    assert len(refusal(read, f'[record]\nmax_bytes = "{"x" * 5000}"')) < 300


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[record\n", "is no TOML: .*line 1"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a = " + b"[" * 100_000 + b"]" * 100_000, "nested too deep|is no TOML"),
        (b"#" * ((1 << 20) + 1), "more than 1,048,576 bytes"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path, content, message):
    file = tmp_path / "deephochuli.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_config(file)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read: .*deephochuli init"):
        read_config(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path)


def test_the_file_of_a_folder_is_found(tmp_path, monkeypatch):
    assert find_config(tmp_path) is None
    (tmp_path / "deephochuli.toml").touch()
    assert find_config(tmp_path) == tmp_path / "deephochuli.toml"
    monkeypatch.chdir(tmp_path)
    assert find_config().name == "deephochuli.toml"


@pytest.mark.parametrize(
    "text",
    [
        '[compare]\narithmetic = ["bf16", "evil.py:make"]',
        '[compare]\nreference = "evil:make"',
        '[compare]\nas = "evil.py:make"',
        '[examine]\ndata = "evil.py:batches"',
        '[study]\naddress = "ray://elsewhere:10001"',
    ],
)
def test_code_is_only_named_by_a_file_that_was_named(read, text):
    said = refusal(read, text, is_trusted=False)
    assert "line 2" in said
    assert "--config FILE" in said
    read(text)
    read('[compare]\narithmetic = ["bf16", "cuda:0", "threads=1"]', is_trusted=False)


def test_reading_runs_nothing_and_loads_nothing_heavy(tmp_path):
    file = tmp_path / "deephochuli.toml"
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    file.write_text('[compare]\nmodel = "evil.py:make"\nreference = "evil:make"')
    code = (
        "import sys; from deephochuli.config import read_config; read_config(sys.argv[1]);"
        "print([n for n in ('torch', 'numba', 'pyarrow', 'evil') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == "[]"


def test_lines_are_found_under_all_ways_of_writing():
    text = "\n".join(
        [
            "# [not] = a table",  # 1
            "record.every = 1",  # 2
            "[ record . extra ]",  # 3
            "'quoted name' = 1",  # 4
            'note = """',  # 5
            "every = 7",  # 6, inside of the text
            '"""',  # 7
            "[report]  # a comment",  # 8
            "html = '''x'''",  # 9
            "title = 'a [b] = c'",  # 10
        ]
    )
    assert lines_of(text) == {
        ("record", "every"): 2,
        ("record", "extra"): 3,
        ("record", "extra", "quoted name"): 4,
        ("record", "extra", "note"): 5,
        ("report",): 8,
        ("report", "html"): 9,
        ("report", "title"): 10,
    }


def test_quantities_and_schedules_are_those_of_the_taps():
    from deephochuli.config._values import QUANTITIES
    from deephochuli.errors import TapError
    from deephochuli.taps import QUANTITIES as KNOWN
    from deephochuli.taps import parse_schedule

    assert set(QUANTITIES) == KNOWN
    assert all(map(is_quantity, KNOWN))
    for text in ("1", "log", "0:10", "5:,7:9:2", "0", "-1", "1:2:0", "9:3", "x", "", "1,2", "::"):
        try:
            parse_schedule(text)
        except TapError:
            assert not is_schedule(text), text
        else:
            assert is_schedule(text), text


def test_events_are_the_triggers_of_the_recorder():
    from typing import get_args

    from deephochuli.config._schema import Event
    from deephochuli.record import TRIGGERS

    assert set(get_args(Event)) == set(TRIGGERS)
