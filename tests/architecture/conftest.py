"""Fixtures of the architecture tests."""

import pytest

from tests.architecture.project import Module, package_modules


@pytest.fixture(scope="session")
def modules() -> list[Module]:
    """Every Python file of the package."""
    return package_modules()
