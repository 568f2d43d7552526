"""Every piece of code in the documentation runs, or says above itself why it does not.

`make docs` runs these; they need no network.
"""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deephochuli.cli import main
from tests.architecture.project import ROOT, tracked_files
from tests.docs.blocks import LANGUAGES, Block, blocks_of, commands_of
from tests.docs.setting import environment, make_folder, names_of

FILE = re.compile(r"# (\w+\.py)\n")
# Each begins with a folder that must not be there yet.
WRITES = re.compile(r"\bto=\"([^\"]+)\"|--(?:to|save) (\S+)")
# What a command may begin with besides `deephochuli`, and why it is not run here.
ELSEWHERE = {
    "make": "a target; tests/architecture checks that it exists, continuous integration runs it",
    "python": "a benchmark or a table, which takes minutes; its file is checked to exist",
    "pip": "needs a package index; tools/try_wheel.py installs the wheel into an empty environment",
}


def documents() -> list[Path]:
    """Documents with code in them, the changelog and the site's own pages aside."""
    return [path for path in tracked_files(".md") if "```" in path.read_text("utf-8")]


def all_blocks(document: Path) -> list[Block]:
    return blocks_of(document, document.read_text("utf-8"))


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("setting")
    make_folder(folder)
    return folder


def run_python(block: Block, names: dict, folder: Path) -> None:
    """Run a block in the names of its document; a traceback names the line in the document.

    A block that begins with the name of a file is that file, and imported.
    """
    if name := FILE.match(block.code):
        (folder / name[1]).write_text(block.code)
        names.update(vars(importlib.import_module(name[1].removesuffix(".py"))))
        return
    where = f"{block.document.relative_to(ROOT)}"
    exec(compile("\n" * (block.line - 1) + block.code, where, "exec"), names)


def missing_file(words: list[str]) -> str | None:
    """The file of ours that a `python` command names and that is not there."""
    if words[1] == "-m":
        module = ROOT / words[2].replace(".", "/")
        known = module.with_suffix(".py").exists() or (module / "__main__.py").exists()
        foreign = words[2].split(".")[0] not in ("benchmarks", "tests", "examples", "deephochuli")
        return None if known or foreign else words[2]
    return None if (ROOT / words[1]).exists() or not words[1].endswith(".py") else words[1]


def run_command(line: str, folder: Path) -> None:
    words = shlex.split(line)
    if words[0] != "deephochuli":
        assert words[0] in ELSEWHERE, f"{line}: run it, or say above the block why not"
        assert words[0] != "python" or not missing_file(words), line
        return
    code = run_script(words, folder) if "run" in words[:2] else main(words[1:], exits=False)
    assert code in ((0, 1) if "--fail-on" in words else (0,)), f"{line} ended with {code}"


def run_script(words: list[str], folder: Path) -> int:
    """Run `deephochuli run`, which makes the process the script's, in a process of its own."""
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, env=environment(), check=False).returncode


def make_room(code: str, folder: Path) -> None:
    """Take away what a block writes: the reader begins with none of it."""
    for names in WRITES.findall(code):
        target = folder / "".join(names)
        if target.is_dir():
            shutil.rmtree(target)


@pytest.mark.slow
# `compare --verdict compiled` loads torch's compiler, which imports what torch has deprecated.
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_code_of_a_document_runs(document, setting, tmp_path, monkeypatch):
    folder = tmp_path / "reader"
    shutil.copytree(setting, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    names = names_of()
    for block in all_blocks(document):
        if block.reason is not None:
            continue
        if block.language == "python":
            make_room(block.code, folder)
            run_python(block, names, folder)
        elif block.language in ("sh", "console"):
            for line in commands_of(block):
                make_room(line, folder)
                run_command(line, folder)


def test_every_block_says_what_it_is():
    strange = [
        f"{path.relative_to(ROOT)}:{block.line}: {block.language!r}"
        for path in documents()
        for block in all_blocks(path)
        if block.language and block.language not in LANGUAGES and "{" not in block.language
    ]
    assert not strange, f"use one of {LANGUAGES}"


def test_blocks_are_found_with_their_lines_and_reasons():
    text = "a\n\n<!-- not run: needs a GPU -->\n```python\nx\n```\n\n- b\n\n"
    text += "   ```sh\n   ls  # c\n   ```\n"
    first, second = blocks_of(ROOT / "x.md", text)
    assert (first.line, first.language, first.reason) == (5, "python", "needs a GPU")
    assert (second.code, commands_of(second), second.reason) == ("ls  # c\n", ["ls"], None)


def test_a_broken_block_fails_with_its_line():
    block = Block(ROOT / "x.md", 7, "python", "pass\n1 / 0\n", None)
    with pytest.raises(ZeroDivisionError) as raised:
        run_python(block, {}, ROOT)
    assert raised.traceback[-1].lineno + 1 == 8


def test_a_wrong_command_fails(tmp_path):
    with pytest.raises(AssertionError, match="ended with 2"):
        run_command("deephochuli formats --wrong", tmp_path)
    with pytest.raises(AssertionError, match="say above the block"):
        run_command("rm -rf everything", tmp_path)
    with pytest.raises(AssertionError, match="no_such"):
        run_command("python benchmarks/no_such.py", tmp_path)
