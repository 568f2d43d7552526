"""What builds and checks a release sees what it should."""

import pytest

from tools.build_dist import package_files, sdist_faults, version_faults, wheel_faults
from tools.check_release import Named, disagreements, read

INFO = "deephochuli-0.1.0.dist-info/"
WHOLE = package_files() | {
    INFO + name for name in ("METADATA", "entry_points.txt", "licenses/LICENSE")
}


def test_this_repository_names_one_version():
    assert disagreements(read()) == []
    assert read().code is not None


@pytest.mark.parametrize(
    ("named", "word"),
    [
        (Named(None, "1.0", "1.0", None, ()), "names no version"),
        (Named("1.0", "0.9", "1.0", None, ()), "CITATION.cff"),
        (Named("1.0", "1.0", "0.9", None, ()), "CHANGELOG.md"),
        (Named("1.0", "1.0", "0.9", "1.1", ()), "CHANGELOG.md"),
        (Named("1.0", "1.0", "1.0", None, ("0.9",)), "the tag names 0.9"),
        (Named("1.0", "1.0", "0.9", "1.0", ("1.0",)), "To become"),
    ],
)
def test_a_version_that_disagrees_is_seen(named, word):
    found = disagreements(named)
    assert len(found) == 1
    assert word in found[0]


def test_a_release_and_a_commit_between_two_agree():
    assert disagreements(Named("1.0", "1.0", "1.0", None, ("1.0",))) == []
    assert disagreements(Named("1.1", "1.1", "1.0", "1.1", ())) == []


def test_the_package_has_what_a_wheel_needs():
    needed = {
        "deephochuli/py.typed",
        "deephochuli/report/page/page.html",
        "deephochuli/__main__.py",
    }
    assert needed <= package_files()


def test_a_whole_wheel_has_no_faults():
    assert wheel_faults(WHOLE, package_files()) == []


@pytest.mark.parametrize("name", ["deephochuli/py.typed", INFO + "entry_points.txt"])
def test_what_a_wheel_lacks_is_seen(name):
    found = wheel_faults(WHOLE - {name}, package_files())
    assert [name.rpartition("/")[2] in fault for fault in found] == [True]


def test_what_does_not_belong_into_a_wheel_is_seen():
    assert wheel_faults(WHOLE | {"tests/x.py"}, package_files()) == ["the wheel has tests/x.py"]


def test_what_a_source_archive_lacks_is_seen():
    names = {f"src/{name}" for name in package_files()}
    assert "the source archive lacks LICENSE" in sdist_faults(names, package_files())


@pytest.mark.parametrize(
    ("code", "held"), [(b'VERSION = "0.1.0"\n', "0.1.0"), (b"VERSION = None\n", "none")]
)
@pytest.mark.parametrize("name", ["deephochuli-0.2.0-py3-none-any.whl", "deephochuli-0.2.0.tar.gz"])
def test_an_archive_that_holds_another_version_is_seen(name, code, held):
    assert version_faults(name, code) == [f"{name} holds version {held}"]
    assert version_faults(name, b'x = 1\nVERSION = "0.2.0"\n') == []
