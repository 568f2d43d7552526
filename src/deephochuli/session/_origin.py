"""Where a script comes from: its name and the commit it stands at, for the manifest."""

from __future__ import annotations

import contextlib
from pathlib import Path

from deephochuli.session._script import Script

Fact = str | list[str]


def origin_of(script: Script) -> dict[str, Fact]:
    """The script as it was named, its arguments, and its commit if it lies in a git repository."""
    kind = "module" if script.is_module else "script"
    facts: dict[str, Fact] = {kind: script.target, "arguments": list(script.arguments)}
    start = Path.cwd() if script.is_module else Path(script.target).resolve().parent
    commit = commit_of(start)
    return facts if commit is None else {**facts, "git_commit": commit}


def commit_of(folder: Path) -> str | None:
    """The commit that is checked out around a folder, read from git's own files."""
    for above in (folder, *folder.parents):
        dot_git = above / ".git"
        if dot_git.exists():
            with contextlib.suppress(OSError, ValueError):
                return _head(_git_folder(dot_git))
            return None
    return None


def _git_folder(dot_git: Path) -> Path:
    """The folder of a repository; a work tree or a submodule has a file that points to it."""
    if dot_git.is_dir():
        return dot_git
    return dot_git.parent / dot_git.read_text("utf-8").removeprefix("gitdir:").strip()


def _head(git: Path) -> str | None:
    head = (git / "HEAD").read_text("utf-8").strip()
    if not head.startswith("ref:"):
        return head
    name = head.removeprefix("ref:").strip()
    shared = git / "commondir"
    homes = [git, git / shared.read_text("utf-8").strip()] if shared.exists() else [git]
    for home in homes:
        if (home / name).exists():
            return (home / name).read_text("utf-8").strip()
        if (home / "packed-refs").exists():
            for line in (home / "packed-refs").read_text("utf-8").splitlines():
                commit, _, packed = line.partition(" ")
                if packed == name:
                    return commit
    return None
