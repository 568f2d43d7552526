"""Which parameters feed the units of a rectifier: read from the graph that autograd keeps."""

# The nodes of autograd have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

_RECTIFIERS = ("Relu", "Hardtanh", "Clamp")
_VIEWS = ("TBackward", "Transpose", "Permute", "View", "Unsafe", "Expand", "Reshape", "ToCopy")


@dataclass(frozen=True, slots=True)
class Wiring:
    """The units of one call of a rectifier, and what feeds them.

    Attributes:
        layer: Path of the module whose weights make the pre-activations; "rectifier N" where it is
            not known.
        dim: Dimension of the pre-activations that counts the units.
        n_units: How many there are.
        weights: Names of the parameters with one row a unit, biases included, nearest first.
        bias: Name of the bias that is added last; "" where there is none.
    """

    layer: str
    dim: int
    n_units: int
    weights: tuple[str, ...]
    bias: str


def wiring_of(z: Tensor, named: Mapping[str, nn.Parameter], index: int) -> Wiring:
    """Find what feeds the pre-activations `z` of the rectifier of a number.

    Everything between this rectifier and the ones before it is walked; a layer with weights is not
    passed. Parameters without one row a unit (those of transposed convolutions) are left out.
    """
    names = {id(parameter): name for name, parameter in named.items()}
    found = list(dict.fromkeys(_walk(z.grad_fn, names)))
    matrices = [name for name in found if named[name].dim() >= 2]
    dim = _unit_dim(z, None if not matrices else named[matrices[0]])
    rows = tuple(name for name in found if named[name].shape[0] == z.shape[dim])
    biases = [name for name in rows if name.rpartition(".")[2].startswith("bias")]
    layer = matrices[0].rpartition(".")[0] if matrices else f"rectifier {index}"
    return Wiring(layer, dim, z.shape[dim], rows, biases[0] if biases else "")


def _unit_dim(z: Tensor, weight: Tensor | None) -> int:
    """Channels of convolutions stand second, features of linear layers last."""
    if weight is None:
        return 1 if z.dim() >= 4 else z.dim() - 1
    return z.dim() - 1 if weight.dim() == 2 else 1


def _walk(start: Any, names: Mapping[int, str]) -> Iterator[str]:
    """Yield names of parameters, breadth first, no layer with weights being passed."""
    queue, seen = deque([start]), {None, start}
    while queue:
        node = queue.popleft()
        if node is None or node.name().startswith(_RECTIFIERS):
            continue
        leaves = [leaf for each, _ in node.next_functions if (leaf := _leaf(each)) is not None]
        yield from (names[id(leaf)] for leaf in leaves if id(leaf) in names)
        if any(leaf.dim() >= 2 for leaf in leaves):
            continue
        queue.extend(each for each, _ in node.next_functions if each not in seen)
        seen.update(each for each, _ in node.next_functions)


def _leaf(node: Any) -> Tensor | None:
    """The parameter that a node stands for, itself or through a view of it."""
    while node is not None:
        variable = getattr(node, "variable", None)
        if variable is not None:
            return variable
        if not node.name().startswith(_VIEWS) or len(node.next_functions) != 1:
            return None
        node = node.next_functions[0][0]
    return None
