"""The archives themselves: built here, without an index."""

import pytest

from tools.build_dist import build, digests, faults


@pytest.mark.slow
def test_two_builds_are_the_same_and_whole(tmp_path):
    first, second = build(tmp_path / "first"), build(tmp_path / "second")
    assert {path.suffix for path in first} == {".whl", ".gz"}
    assert digests(first) == digests(second)
    assert faults(first) == []
