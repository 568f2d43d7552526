"""The version of what is built, in small trees with tags and without."""

import shutil
import subprocess
import tarfile
import zipfile

import pytest
from hatchling import build

from tools.version import ROOT, derived, describe, version

COPIED = ("pyproject.toml", "README.md", "LICENSE", "tools/version.py")


def git(tree, *words):
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=tree, check=True, capture_output=True)


def commit(tree, *tags):
    git(tree, "commit", "-q", "--allow-empty", "-m", "x")
    for tag in tags:
        git(tree, "tag", tag)


@pytest.fixture
def tree(tmp_path):
    """A package of version 0.2.0 that is built as this one is; no repository yet."""
    made = tmp_path / "tree"
    for name in COPIED:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, made / name)
    package = made / "src" / "deephochuli"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "_version.py").write_text('"""The version."""\n\nVERSION = "0.2.0"\n')
    return made


@pytest.fixture
def repository(tree):
    git(tree, "init", "-q")
    git(tree, "add", ".")
    commit(tree)
    return tree


def archives(tree, to, monkeypatch):
    """Build both archives; the name of the wheel, and the version inside of each."""
    monkeypatch.chdir(tree)
    wheel, sdist = build.build_wheel(str(to)), build.build_sdist(str(to))
    with zipfile.ZipFile(to / wheel) as opened:
        in_wheel = opened.read("deephochuli/_version.py").decode()
        assert opened.namelist().count("deephochuli/_version.py") == 1
    with tarfile.open(to / sdist) as opened:
        names = [n for n in opened.getnames() if n.endswith("_version.py")]
        assert len(names) == 1
        in_sdist = opened.extractfile(names[0]).read().decode()
    assert in_wheel == in_sdist
    return wheel, in_wheel


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ("", "0.2.0"),
        ("v0.2.0-0-gabc", "0.2.0"),
        ("v0.3.0-0-gabc", "0.3.0"),
        ("v0.1.0-7-gabc", "0.2.0.dev7+gabc"),
        ("v0.2.0-7-gabc", "0.2.0.post7+gabc"),
        ("v0.2.0rc1-7-gabc", "0.2.0rc1.post7+gabc"),
        ("v0.10.0-1-gabc", "0.10.0.post1+gabc"),
        ("v2-experiment-1-gabc", "0.2.0"),
        ("v1.0.post1-1-gabc", "0.2.0"),
    ],
)
def test_a_version_of_a_commit(described, expected):
    assert derived(described, "0.2.0") == expected


def test_a_tree_without_a_repository_has_the_version_that_is_written(tree):
    assert version(tree) == "0.2.0"


def test_an_archive_inside_a_repository_of_something_else_does_not_take_its_tags(tree):
    outer = tree.parent
    git(outer, "init", "-q")
    commit(outer, "v9.0.0")
    assert version(tree) == "0.2.0"


def test_without_git_the_version_is_the_written_one(repository, monkeypatch):
    commit(repository, "v0.3.0")
    monkeypatch.setenv("PATH", str(repository))
    assert version(repository) == "0.2.0"


def test_tags_make_the_version_where_they_are(repository):
    assert describe(repository) == ""
    assert version(repository) == "0.2.0"
    commit(repository, "v0.3.0", "not-a-release")
    (repository / "README.md").write_text("changed, and not committed")
    assert version(repository) == "0.3.0"
    commit(repository)
    assert version(repository).startswith("0.3.0.post1+g")


def test_a_package_without_a_version_is_an_error(tree):
    (tree / "src" / "deephochuli" / "_version.py").write_text("VERSION = None\n")
    with pytest.raises(ValueError, match="has no line"):
        version(tree)


@pytest.mark.parametrize(("tags", "expected"), [((), "0.2.0"), (("v0.3.0",), "0.3.0")])
def test_archives_say_inside_what_they_are_named(repository, tmp_path, monkeypatch, tags, expected):
    commit(repository, *tags)
    wheel, text = archives(repository, tmp_path, monkeypatch)
    assert wheel == f"deephochuli-{expected}-py3-none-any.whl"
    assert text == f'"""The version."""\n\nVERSION = "{expected}"\n'


def test_a_wheel_from_the_source_archive_keeps_its_version(repository, tmp_path, monkeypatch):
    commit(repository, "v0.3.0")
    archives(repository, tmp_path, monkeypatch)
    with tarfile.open(tmp_path / "deephochuli-0.3.0.tar.gz") as opened:
        opened.extractall(tmp_path, filter="data")
    (tmp_path / "again").mkdir()
    wheel, text = archives(tmp_path / "deephochuli-0.3.0", tmp_path / "again", monkeypatch)
    assert wheel.startswith("deephochuli-0.3.0-")
    assert 'VERSION = "0.3.0"' in text


def test_an_editable_install_leaves_the_tree_as_it_is(repository, tmp_path, monkeypatch):
    commit(repository, "v0.3.0")
    monkeypatch.chdir(repository)
    wheel = build.build_editable(str(tmp_path))
    assert wheel.startswith("deephochuli-0.3.0-")
    with zipfile.ZipFile(tmp_path / wheel) as opened:
        assert not any(name.endswith("_version.py") for name in opened.namelist())
    written = (repository / "src" / "deephochuli" / "_version.py").read_text()
    assert 'VERSION = "0.2.0"' in written
