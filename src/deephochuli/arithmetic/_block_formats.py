"""Block formats: elements of a narrow format that share a scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeGuard

from deephochuli.errors import ArithmeticSpecError, near_matches
from deephochuli.formats import E2M1, E2M3, E3M2, E4M3FN, E5M2, E8M0, Format


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFormat:
    """Elements of a format, a number of which share a scale.

    Attributes:
        name: Name in messages and in `get_block_format`.
        element: Format of the elements; they saturate.
        scale: Format of the scale: E8M0, a power of two, or E4M3.
        block: Elements that share a scale.
        aliases: Further names.
        source: Where this is defined.
    """

    name: str
    element: Format
    scale: Format
    block: int
    aliases: tuple[str, ...] = ()
    source: str = "OCP Microscaling Formats (MX) 1.0, 2023, sections 5 and 6.3"

    def __hash__(self) -> int:
        # Of all fields it takes microseconds, and formats are looked up in every call.
        return hash(self.name)

    @property
    def has_power_of_two_scale(self) -> bool:
        """Whether scales are powers of two, so that scaling rounds nothing."""
        return self.scale.precision == 1

    def __str__(self) -> str:
        return self.name


def _mx(name: str, element: Format, *aliases: str) -> BlockFormat:
    return BlockFormat(name=name, element=element, scale=E8M0, block=32, aliases=aliases)


_CATALOGUE: Final = (
    _mx("mxfp8_e4m3", E4M3FN, "mxfp8", "mxfp8_e4m3fn"),
    _mx("mxfp8_e5m2", E5M2),
    _mx("mxfp6_e2m3", E2M3, "mxfp6", "mxfp6_e2m3fn"),
    _mx("mxfp6_e3m2", E3M2, "mxfp6_e3m2fn"),
    _mx("mxfp4", E2M1, "mxfp4_e2m1", "mxfp4_e2m1fn"),
    BlockFormat(
        name="nvfp4",
        element=E2M1,
        scale=E4M3FN,
        block=16,
        aliases=("nvfp4_e2m1",),
        source="NVIDIA, NVFP4: E2M1, an E4M3 scale for 16 elements, an FP32 scale for a tensor",
    ),
)
_BY_NAME: Final = {name: fmt for fmt in _CATALOGUE for name in (fmt.name, *fmt.aliases)}


def list_block_formats() -> tuple[BlockFormat, ...]:
    """All block formats of the catalogue."""
    return _CATALOGUE


def is_block_format(name: object) -> TypeGuard[BlockFormat | str]:
    """Whether this is a block format or meant as the name of one, be it right or wrong."""
    if isinstance(name, str):
        return _key(name).startswith(("mxfp", "nvfp"))
    return isinstance(name, BlockFormat)


def get_block_format(name: str | BlockFormat) -> BlockFormat:
    """Find a block format by name, in upper or lower case, with "-" or "_".

    Raises:
        ArithmeticSpecError: The name is unknown; the message names those that resemble it.

    Example:
        >>> get_block_format("MXFP4").block
        32
    """
    if isinstance(name, BlockFormat):
        return name
    found = _BY_NAME.get(name) or _BY_NAME.get(_key(name))
    if found is None:
        raise ArithmeticSpecError(
            f"Unknown block format {name!r}. {near_matches(_key(name), _BY_NAME)}"
        )
    return found


def _key(name: str) -> str:
    return name.strip().lower().replace("-", "_")
