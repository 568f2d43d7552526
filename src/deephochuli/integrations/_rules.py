"""What follows from a finding: the training goes on, saves its weights first, or ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from deephochuli.analysis import LEVELS, Finding
from deephochuli.errors import TapError, near_matches, say
from deephochuli.record import TRIGGERS, Trigger, trigger_of
from deephochuli.store import StepRow, TapRow

Action = Literal["continue", "snapshot", "stop"]
Snapshot = Callable[[str], object]
"""Saves the weights; gets a word that says why, fit for a file name."""

Given = Mapping[str, Action | Sequence[Action]] | Action | None
"""Rules as a user writes them."""

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

KINDS: Final = (
    *("dead-channels", "gradient-underflow", "non-finite", "overflow-headroom"),
    *("skipped-steps", "subnormals", "swamped-updates"),
)
"""Kinds of findings that a recorded run can have."""

MOST_EVENTS: Final = 32
"""Events after which triggers are asked no more: whatever goes on then is no event."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a trigger has seen in a step.

    Attributes:
        name: Name of the trigger.
        text: What it says.
        actions: What follows.
    """

    name: str
    text: str
    actions: tuple[Action, ...]


class Rules:
    """Actions by the names of findings, of triggers, and of levels.

    The rule for the kind of a finding comes before one for its level; one for a level holds for
    worse findings, too. Without a rule, the training goes on.
    """

    def __init__(self, given: Given = None) -> None:
        """Read rules; an action alone is what follows from critical findings.

        Raises:
            TapError: A name or an action is unknown.
        """
        rules: Mapping[str, Action | Sequence[Action]] = {}
        if given is not None:
            rules = given if isinstance(given, Mapping) else {"critical": given}
        self._rules = {name: _actions(name, said) for name, said in rules.items()}
        self._triggers = {name: trigger_of(name) for name in rules if name in TRIGGERS}
        self._n_events = 0

    def __bool__(self) -> bool:
        """Whether anything can follow from a finding or an event."""
        return any(self._rules.values())

    def of_finding(self, finding: Finding) -> tuple[Action, ...]:
        """What follows from a finding."""
        names = (finding.kind, *LEVELS[LEVELS.index(finding.level) :])
        return next((self._rules[name] for name in names if name in self._rules), ())

    def of_step(self, step: StepRow, taps: Sequence[TapRow]) -> list[Event]:
        """Ask the triggers about one step."""
        said = [
            Event(name, text, self._rules[name])
            for name, trigger in list(self._triggers.items())
            if (text := self._ask(name, trigger, step, taps))
        ]
        self._n_events += len(said)
        if self._n_events >= MOST_EVENTS:
            self._triggers.clear()
        return said

    def _ask(
        self, name: str, trigger: Trigger, step: StepRow, taps: Sequence[TapRow]
    ) -> str | None:
        try:
            return trigger(step, taps)
        except Exception as error:  # an instrument never stops the training by accident
            del self._triggers[name]
            say(f"The trigger {name} failed and is asked no more: {type(error).__name__}: {error}")
            return None


def _actions(name: str, said: Action | Sequence[Action]) -> tuple[Action, ...]:
    """The actions of one rule, without the one that does nothing."""
    known = (*LEVELS, *KINDS, *TRIGGERS)
    if name not in known:
        raise TapError(
            f"on_finding has a rule for {name!r}, which is no level, finding or trigger. "
            f"{near_matches(name, known)}"
        )
    actions: Sequence[Action] = (said,) if isinstance(said, str) else said
    for action in actions:
        if action not in ACTIONS:
            raise TapError(
                f"on_finding says {action!r} for {name!r}; expected 'continue', 'snapshot' or "
                f"'stop', or several of them. {near_matches(str(action), ACTIONS)}"
            )
    return tuple(action for action in actions if action != "continue")
