"""Replacing an attribute for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

_ABSENT: Final = object()


class Patch:
    """An attribute that is wrapped until `undo`.

    Attributes:
        owner: What has the attribute.
    """

    def __init__(self, owner: object, name: str, wrap: Callable[[Any], Any]) -> None:
        """Put ``wrap(old)`` in the place of the attribute `name` of `owner`."""
        self.owner = owner
        self._name = name
        self._own = vars(owner).get(name, _ABSENT)
        self._wrapper = wrap(getattr(owner, name))
        setattr(owner, name, self._wrapper)

    def undo(self) -> None:
        """Put back what was there, unless somebody else has replaced it since."""
        if vars(self.owner).get(self._name) is not self._wrapper:
            return
        if self._own is _ABSENT:
            delattr(self.owner, self._name)
        else:
            setattr(self.owner, self._name, self._own)
