"""When units die and when they come back, during a training that does not notice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from deephochuli.analysis._sheet import Axis, Figure, Series, Sheet, Table
from deephochuli.analysis.death._death import death
from deephochuli.analysis.death._low import Spec
from deephochuli.analysis.death._result import Death
from deephochuli.errors import CompareError

CAUSES: Final = ("by data", "by bias", "by rounding", "by inherited rounding")
"""Fates that are causes of death."""


@dataclass(frozen=True, slots=True)
class Event:
    """A unit that died or came back between two looks.

    Attributes:
        step: Step of the look that saw it first.
        layer: Layer of the unit.
        unit: Its number.
        what: "death" or "revival"; a unit that is dead at the first look dies there.
        cause: Cause of the death, or of the one that ended; a key of `FATES`.
    """

    step: int
    layer: str
    unit: int
    what: Literal["death", "revival"]
    cause: str


@dataclass(frozen=True, slots=True)
class Lives:
    """Every unit at every look.

    Attributes:
        model: Class of the model.
        arithmetic: What was judged.
        steps: Steps of the looks.
        units: Layer and number of each unit.
        causes: Cause of death of each unit at each look: 0 alive, else 1 + place in `CAUSES`,
            int8 [looks, units].
    """

    model: str
    arithmetic: str
    steps: tuple[int, ...]
    units: tuple[tuple[str, int], ...]
    causes: npt.NDArray[np.int8]

    @property
    def events(self) -> tuple[Event, ...]:
        """Deaths and revivals in order of steps, layers and units."""
        dead = self.causes > 0
        before = np.vstack([np.zeros_like(dead[:1]), dead[:-1]])
        causes = np.vstack([np.zeros_like(self.causes[:1]), self.causes[:-1]])
        found: list[Event] = []
        for look, unit in np.argwhere(dead != before).tolist():
            layer, number = self.units[unit]
            died = bool(dead[look, unit])
            code = int((self.causes if died else causes)[look, unit])
            what: Literal["death", "revival"] = "death" if died else "revival"
            found.append(Event(self.steps[look], layer, number, what, CAUSES[code - 1]))
        return tuple(found)

    def n_dead(self, cause: str) -> tuple[int, ...]:
        """How many units are dead by a cause at each look."""
        return tuple((self.causes == 1 + CAUSES.index(cause)).sum(axis=1).tolist())

    def sheet(self) -> Sheet:
        """The answer as data."""
        events = self.events
        n_deaths = sum(event.what == "death" for event in events)
        last = {cause: self.n_dead(cause)[-1] for cause in CAUSES}
        return Sheet(
            key="lifelines",
            title="When units die and come back",
            question=f"When do units of {self.model} die in {self.arithmetic}, why, and do they "
            "come back?",
            answer=f"Over {len(self.steps)} looks (steps {self.steps[0]} to {self.steps[-1]}) "
            f"{n_deaths} deaths and {len(events) - n_deaths} revivals were seen; at the end "
            + ", ".join(f"{n} units are dead {cause}" for cause, n in last.items())
            + f", of {len(self.units)}.",
            tables=(
                Table(
                    key="events",
                    title="Deaths and revivals",
                    columns=("step", "layer", "unit", "what", "cause"),
                    rows=tuple((e.step, e.layer, e.unit, e.what, e.cause) for e in events),
                    note="The step is that of the look that saw it first.",
                ),
            ),
            figures=(self._figure(),),
            notes=("A unit that dies and comes back between two looks is not seen.",),
        )

    def _figure(self) -> Figure:
        steps = tuple(map(float, self.steps))
        return Figure(
            key="dead",
            title="Dead units by cause over the training",
            x=Axis("steps"),
            y=Axis("units", low=0.0),
            series=tuple(
                Series(cause, steps, tuple(map(float, self.n_dead(cause))), mark="steps")
                for cause in CAUSES
                if any(self.n_dead(cause))
            ),
        )


class Lifelines:
    """Looks at copies of a model while it trains, and remembers who was dead, and by what.

    The training is the same to the bit as without: each look copies the model, and no global
    generator moves. A look costs a few forwards of all the data in binary64.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
        >>> lifelines = Lifelines(model, torch.ones(4, 1), "fp32")
        >>> for step, bias in enumerate((1.0, -9.0, -9.0, 1.0)):
        ...     with torch.no_grad():
        ...         _ = model[0].weight.fill_(1.0), model[0].bias.fill_(bias)
        ...     _ = lifelines.look(step)
        >>> [(event.step, event.what, event.cause) for event in lifelines.lives().events]
        [(1, 'death', 'by bias'), (3, 'revival', 'by bias')]
    """

    def __init__(
        self, model: nn.Module, data: Any, arithmetic: Spec = "bf16-pure", *, seed: int = 0
    ) -> None:
        """Follow the units of `model` on `data` (as for `death`)."""
        self._model, self._data, self._arithmetic, self._seed = model, data, arithmetic, seed
        self._looks: list[tuple[int, Death]] = []

    def look(self, step: int) -> Death:
        """Judge the model as it is now.

        Raises:
            CompareError: The step is not after the last one.
        """
        if self._looks and step <= self._looks[-1][0]:
            raise CompareError(
                f"Cannot look at step {step} after step {self._looks[-1][0]}: expected a later one."
            )
        found = death(self._model, self._data, self._arithmetic, seed=self._seed)
        self._looks.append((step, found))
        return found

    def lives(self) -> Lives:
        """What was seen so far.

        Raises:
            CompareError: Nothing was looked at.
        """
        if not self._looks:
            raise CompareError("Nothing was looked at yet: call look(step) while training.")
        last = self._looks[-1][1]
        return Lives(
            model=last.model,
            arithmetic=last.arithmetic,
            steps=tuple(step for step, _ in self._looks),
            units=tuple((x.layer, unit) for x in last.layers for unit in range(x.n_units)),
            causes=np.stack([_causes(found) for _, found in self._looks]),
        )


def _causes(found: Death) -> npt.NDArray[np.int8]:
    """Cause of death of every unit: 0 alive in the judged arithmetic, else 1 + place in CAUSES."""
    codes = [np.zeros(layer.n_units, np.int8) for layer in found.layers]
    for code, cause in enumerate(CAUSES, start=1):
        for layer, values in zip(found.layers, codes, strict=True):
            values[layer.which(cause) & layer.dead] = code
    return np.concatenate(codes)
