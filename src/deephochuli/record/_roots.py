"""Which model does a script train: what it calls, as far as its optimizers reach.

Modules do not know what they are a part of, so everything alive is looked through, once for each
model that is found.
"""

# The parts of a module have no public interface that also tells a shared one twice.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim import Optimizer


@dataclass(frozen=True, slots=True)
class Trained:
    """A model and the optimizers that train it.

    Attributes:
        model: One module, or a container of several that share an optimizer.
        roots: The modules in the container, or the model alone.
        optimizers: Every optimizer that steps any of its parameters.
    """

    model: nn.Module
    roots: tuple[nn.Module, ...]
    optimizers: tuple[Optimizer, ...]


def trained_model(called: nn.Module, known: Sequence[Optimizer]) -> Trained | None:
    """Find the model that a call belongs to.

    Args:
        called: A module that the script calls from outside of any module.
        known: Optimizers that are in use.

    Returns:
        The module itself if its optimizers step nothing else; otherwise the smallest module
        around it that holds all they step; otherwise a container of the outermost modules that do.
        None if no optimizer steps any of its parameters.
    """
    called = unwrapped(called)
    own = {id(parameter) for parameter in called.parameters()}
    optimizers = [each for each in known if own & stepped_by(each)]
    if not optimizers:
        return None
    if _stepped_by_any(optimizers) <= own:
        return Trained(called, (called,), tuple(optimizers))
    alive = _Alive()
    around = [
        module
        for module in alive.around(called)
        if _stepped_by_any(optimizers) <= {id(parameter) for parameter in module.parameters()}
    ]
    if around:
        model = min(around, key=lambda module: sum(1 for _ in module.modules()))
        return _with_optimizers(unwrapped(model), known)
    return _together(called, optimizers, known, alive)


def stepped_model(optimizer: Optimizer, known: Sequence[Optimizer]) -> Trained | None:
    """Find the model of an optimizer without having seen a call of it.

    Returns:
        The outermost module that holds everything the optimizer steps, or a container of several;
        None if no module holds any of it.
    """
    alive = _Alive()
    needed = stepped_by(optimizer)
    tops = alive.tops(optimizer)
    whole = [top for top in tops if needed <= {id(parameter) for parameter in top.parameters()}]
    if whole:
        return _with_optimizers(unwrapped(whole[0]), known)
    return _together(tops[0], [optimizer], known, alive) if tops else None


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside what torch puts around it to train it on several devices."""
    inner: Any = module
    while isinstance(inner, DataParallel | DistributedDataParallel):
        inner = cast(Any, inner).module
    return inner


def stepped_by(optimizer: Optimizer) -> set[int]:
    """Identities of the parameters that an optimizer steps."""
    return {id(parameter) for parameter in _parameters(optimizer)}


def is_trainable(module: nn.Module) -> bool:
    """Whether a module has parameters that wait for gradients."""
    return any(parameter.requires_grad for parameter in module.parameters())


def _parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _stepped_by_any(optimizers: Iterable[Optimizer]) -> set[int]:
    return set[int]().union(*map(stepped_by, optimizers))


def _with_optimizers(model: nn.Module, known: Sequence[Optimizer]) -> Trained:
    own = {id(parameter) for parameter in model.parameters()}
    return Trained(model, (model,), tuple(each for each in known if own & stepped_by(each)))


def _together(
    called: nn.Module, optimizers: list[Optimizer], known: Sequence[Optimizer], alive: _Alive
) -> Trained:
    """Put a module and all others that its optimizers step into a container.

    The other modules may have further optimizers, and those further modules.
    """
    roots: list[nn.Module] = [called]
    n_before = 0
    while n_before != len(optimizers):
        n_before = len(optimizers)
        for optimizer in list(optimizers):
            roots = _outermost([*roots, *alive.tops(optimizer)], called)
        own = {id(parameter) for root in roots for parameter in root.parameters()}
        optimizers = [each for each in known if own & stepped_by(each)]
    if len(roots) == 1:
        return Trained(roots[0], (roots[0],), tuple(optimizers))
    return Trained(_container(roots), tuple(roots), tuple(optimizers))


def _outermost(modules: list[nn.Module], called: nn.Module) -> list[nn.Module]:
    """Leave out what is a part of another one, and what merely surrounds the called module."""
    kept: list[nn.Module] = []
    for module in modules:
        parts = {id(part) for part in module.modules()}
        if module is not called and id(called) in parts:
            continue
        if not any(id(module) in {id(part) for part in other.modules()} for other in kept):
            kept = [other for other in kept if id(other) not in parts] + [module]
    return kept


def _container(roots: Sequence[nn.Module]) -> nn.Module:
    """A module that holds others under the names of their classes, and is never called."""
    kind = type("+".join(type(root).__name__ for root in roots)[:80], (nn.Module,), {})
    container: nn.Module = kind()
    seen: Counter[str] = Counter()
    for root in roots:
        name = type(root).__name__.lower()
        seen[name] += 1
        # Past `add_module`, which would call hooks that the script may have registered.
        container._modules[name if seen[name] == 1 else f"{name}{seen[name]}"] = root
    return container


class _Alive:
    """Every module that is alive, with what it is a part of."""

    def __init__(self) -> None:
        # `isinstance` would ask foreign objects for their `__class__`, which may run their code.
        found: list[nn.Module] = [
            each for each in gc.get_objects() if issubclass(type(each), nn.Module)
        ]
        self._above: dict[int, list[nn.Module]] = {}
        self._owners: dict[int, list[nn.Module]] = {}
        for module in found:
            content = module.__dict__  # one that is being made may have none of these yet
            for part in content.get("_modules", {}).values():
                if part is not None:
                    self._above.setdefault(id(part), []).append(module)
            for parameter in content.get("_parameters", {}).values():
                if parameter is not None:
                    self._owners.setdefault(id(parameter), []).append(module)

    def around(self, module: nn.Module) -> list[nn.Module]:
        """Modules that a module is a part of, near ones first."""
        found: dict[int, nn.Module] = {}
        waiting = [module]
        while waiting:
            for above in self._above.get(id(waiting.pop()), []):
                if id(above) not in found:
                    found[id(above)] = above
                    waiting.append(above)
        return list(found.values())

    def tops(self, optimizer: Optimizer) -> list[nn.Module]:
        """Outermost modules that hold what an optimizer steps, in its order."""
        tops: dict[int, nn.Module] = {}
        done: set[int] = set()
        for parameter in _parameters(optimizer):
            for owner in self._owners.get(id(parameter), []):
                if id(owner) in done:
                    continue
                done.add(id(owner))
                above = self.around(owner)
                outermost = [each for each in above if not self._above.get(id(each))] or [owner]
                tops.update((id(top), top) for top in outermost)
        return list(tops.values())
