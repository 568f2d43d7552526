"""Recording a training: taps, schedule and sketches, put together."""

from __future__ import annotations

from deephochuli.record._all_reduce import all_reduce_sketches as all_reduce_sketches
from deephochuli.record._discover import Discovery as Discovery
from deephochuli.record._patch import Patch as Patch
from deephochuli.record._provenance import arithmetic_flags as arithmetic_flags
from deephochuli.record._ranks import rank_here as rank_here
from deephochuli.record._record import record as record
from deephochuli.record._recorder import Recorder as Recorder
from deephochuli.record._recording import Follower as Follower
from deephochuli.record._recording import Recording as Recording
from deephochuli.record._reduction import REDUCTION_FOLDER as REDUCTION_FOLDER
from deephochuli.record._reduction import ReductionWatch as ReductionWatch
from deephochuli.record._reduction import watch_reduction as watch_reduction
from deephochuli.record._runs import GoingOn as GoingOn
from deephochuli.record._runs import Options as Options
from deephochuli.record._runs import Run as Run
from deephochuli.record._triggers import TRIGGERS as TRIGGERS
from deephochuli.record._triggers import Trigger as Trigger
from deephochuli.record._triggers import Watch as Watch
from deephochuli.record._triggers import trigger_of as trigger_of

__all__ = [
    "REDUCTION_FOLDER",
    "TRIGGERS",
    "Discovery",
    "Follower",
    "GoingOn",
    "Options",
    "Patch",
    "Recorder",
    "Recording",
    "ReductionWatch",
    "Run",
    "Trigger",
    "Watch",
    "all_reduce_sketches",
    "arithmetic_flags",
    "rank_here",
    "record",
    "trigger_of",
    "watch_reduction",
]
