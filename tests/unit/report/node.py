"""Run functions of the page's modules in node, with data in and out as JSON."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import deephochuli.report as report_package

PAGE = Path(report_package.__file__).parent / "page"

DRIVER = """
import {{ readFileSync }} from "node:fs";
import * as module from {module};
const words = {{ "#nan": NaN, "#inf": Infinity, "#-inf": -Infinity }};
const revive = (key, value) => (typeof value === "string" && value in words ? words[value] : value);
const calls = JSON.parse(readFileSync(0, "utf8"), revive);
const wordOf = (value) => Object.keys(words).find((word) => Object.is(words[word], value));
const keep = (key, value) => wordOf(value) ?? value;
const results = [];
for (const [name, args] of calls) results.push(await module[name](...args));
process.stdout.write(JSON.stringify(results, keep));
"""


def call_all(module: str, calls: list[tuple[str, list[Any]]]) -> list[Any]:
    """Results of calls to exported functions of one module of the page, in one process."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    source = DRIVER.format(module=json.dumps((PAGE / f"{module}.mjs").as_uri()))
    done = subprocess.run(
        [node, "--input-type=module", "--eval", source],
        input=json.dumps(_plain(calls)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return _revived(json.loads(done.stdout))


def _plain(value: Any) -> Any:
    """Numbers that JSON cannot hold as the words that the driver knows."""
    if isinstance(value, float):
        return value if math.isfinite(value) else f"#{value}"
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _revived(value: Any) -> Any:
    """The words back to numbers."""
    if value in ("#nan", "#inf", "#-inf"):
        return float(value[1:])
    if isinstance(value, dict):
        return {key: _revived(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_revived(item) for item in value]
    return value
