"""A tap is a place: what is looked at, never how it is seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

PRE_ACTIVATION: Final = "z"
ACTIVATION: Final = "a"
PRE_ACTIVATION_GRADIENT: Final = "dz"
ACTIVATION_GRADIENT: Final = "da"
WEIGHT: Final = "w"
WEIGHT_GRADIENT: Final = "g"
UPDATE: Final = "dw"
STATE: Final = "state"

QUANTITIES: Final = frozenset(
    {
        PRE_ACTIVATION,
        ACTIVATION,
        PRE_ACTIVATION_GRADIENT,
        ACTIVATION_GRADIENT,
        WEIGHT,
        WEIGHT_GRADIENT,
        UPDATE,
        STATE,
    }
)
"""Every quantity that can be asked for; `state` stands for all of ``state:NAME``."""

DEFAULT_QUANTITIES: Final = QUANTITIES - {ACTIVATION_GRADIENT}
"""What is looked at when nothing is said: all but `da`, whose story `dz` already tells."""


@dataclass(frozen=True, slots=True)
class Place:
    """One place to look at: a layer and a quantity.

    During one attachment the same place is always the same object, so a sink may key on
    identity. Two places are equal when they name the same thing; the channel dimension and the
    order say how it was met and are not part of the name.

    Attributes:
        layer: Name shown to people, e.g. ``layer1.0.relu#2`` or ``conv1.weight``.
        quantity: ``z``, ``a``, ``dz``, ``da``, ``w``, ``g``, ``dw`` or ``state:NAME``.
        module: Path of the module, ``""`` for the model itself.
        module_type: Class name of that module.
        role: Kind of activation (``relu``), name of the parameter (``weight``), or ``output``.
        channel_dim: Dimension that counts channels, None when there is none.
        order: Index of the layer in the order in which the layers were first executed.
    """

    layer: str
    quantity: str
    module: str
    module_type: str
    role: str
    channel_dim: int | None = field(default=None, compare=False)
    order: int = field(default=0, compare=False)

    def __str__(self) -> str:
        """Return ``layer:quantity``, the form used in messages."""
        return f"{self.layer}:{self.quantity}"
