"""Where to look in a model and in its optimizers, and how to look without touching."""

from __future__ import annotations

from deephochuli.taps._activations import CLAMP, FUNCTION_KINDS, is_rectifying_clamp
from deephochuli.taps._attachment import Attachment, attach
from deephochuli.taps._faults import Faults
from deephochuli.taps._local import local_part
from deephochuli.taps._parameters import ParameterTap
from deephochuli.taps._place import DEFAULT_QUANTITIES, QUANTITIES, Place
from deephochuli.taps._schedule import Schedule, parse_schedule
from deephochuli.taps._selection import Pattern, Selection
from deephochuli.taps._sink import Sink
from deephochuli.taps._wrappers import plain_optimizer

__all__ = [
    "CLAMP",
    "DEFAULT_QUANTITIES",
    "FUNCTION_KINDS",
    "QUANTITIES",
    "Attachment",
    "Faults",
    "ParameterTap",
    "Pattern",
    "Place",
    "Schedule",
    "Selection",
    "Sink",
    "attach",
    "is_rectifying_clamp",
    "local_part",
    "parse_schedule",
    "plain_optimizer",
]
