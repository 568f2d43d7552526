"""What the source must not contain, and how long its pieces may be."""

import ast
import re

import pytest

from tests.architecture.project import ROOT, tracked_files

FILE_LIMIT = 500
FUNCTION_LIMIT = 60
# Each runs what it is given, or keeps data in a form that runs code when read.
DANGEROUS_NAMES = {"eval", "exec", "pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
# A folder of one machine, an address of one network, a secret: none belongs into a repository.
LOCAL = re.compile(
    r"/(?:home|root|Users|work|mnt)/\w|\b(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2,3}\b"
    r"|--index-url https?:|BEGIN [A-Z ]*PRIVATE KEY"
)
TEXT = (".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".cff", ".js", ".ts", ".css", ".html", "")


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its decorators and its docstring."""
    body = node.body
    has_doc = ast.get_docstring(node, clean=False) is not None
    doc_lines = (body[0].end_lineno or 0) - body[0].lineno + 1 if has_doc else 0
    return (node.end_lineno or 0) - node.lineno + 1 - doc_lines


def dangers(tree: ast.AST) -> list[str]:
    """Uses of names that run or revive code, with their lines."""
    found: list[str] = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").split(".")[0]]
        elif isinstance(node, ast.Call):
            names = called_dangers(node)
        found += [f"line {node.lineno}: {name}" for name in names if name in DANGEROUS_NAMES]
        found += [f"line {node.lineno}: {name}" for name in names if name.startswith("torch.load")]
    return found


def called_dangers(node: ast.Call) -> list[str]:
    """Name of a called function, when calling it can run code that came with data."""
    if isinstance(node.func, ast.Name):
        return [node.func.id]
    is_load = isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "torch.load"
    safe = any(
        keyword.arg == "weights_only"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is True
        for keyword in node.keywords
    )
    return ["torch.load without weights_only=True"] if is_load and not safe else []


def test_nothing_runs_code_that_came_as_data(modules):
    faults = [f"{module.name} {danger}" for module in modules for danger in dangers(module.tree)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
    ],
)
def test_the_danger_check_sees(code):
    assert len(dangers(ast.parse(code))) == 1


def test_the_danger_check_allows_a_model_in_eval_mode_and_safe_loading():
    assert not dangers(ast.parse("model.eval(); torch.load(f, weights_only=True)"))


def test_files_stay_readable(modules):
    long = {m.name: n for m in modules if (n := len(m.text.splitlines())) > FILE_LIMIT}
    assert not long, f"longer than {FILE_LIMIT} lines: {long}"


def test_functions_stay_readable(modules):
    long = [
        f"{module.name}:{node.lineno} {node.name}: {lines} lines"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := code_lines(node)) > FUNCTION_LIMIT
    ]
    assert not long, f"longer than {FUNCTION_LIMIT} lines:\n" + "\n".join(long)


def test_public_packages_say_what_they_export(modules):
    silent = [
        module.name
        for module in modules
        if module.path.name == "__init__.py"
        and not any(
            isinstance(node, ast.Assign | ast.AnnAssign) and "__all__" in ast.unparse(node)
            for node in module.tree.body
        )
    ]
    assert not silent, f"no explicit __all__: {silent}"


def test_no_module_is_called_by_what_it_is_not():
    vague = {"util", "utils", "helpers", "misc", "common", "notes", "tmp"}
    found = [p for p in tracked_files(".py") if p.stem.strip("_") in vague]
    assert not found


def mute_relaxations(text: str) -> list[int]:
    """Lines that relax the type checker with no reason in the comment above them."""
    lines = ["", *text.splitlines()]
    relaxing = [n for n, line in enumerate(lines) if re.match(r"# pyright: (?!ignore)", line)]
    explained: set[int] = set()
    for number in relaxing:
        if number - 1 in explained or re.match(r"# (?!pyright:).*\w+ \w+", lines[number - 1]):
            explained.add(number)
    return [number for number in relaxing if number not in explained]


def test_relaxed_type_checks_give_a_reason(modules):
    mute = {module.name: lines for module in modules if (lines := mute_relaxations(module.text))}
    assert not mute, f"say why in the comment line above: {mute}"


def test_the_reason_check_sees():
    assert mute_relaxations("# pyright: reportUnknownMemberType=false") == [1]
    assert mute_relaxations("# numba ships no types\n# pyright: basic") == []


def test_nothing_names_one_machine():
    here = ROOT / "tests" / "architecture" / "test_source.py"
    faults = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked_files(*TEXT)
        if path != here
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1)
        if LOCAL.search(line)
    ]
    assert not faults, "\n".join(faults)
