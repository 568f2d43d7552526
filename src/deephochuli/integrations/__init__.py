"""Where people already work: trainers, trackers, and rules for what a recording finds meanwhile.

    from deephochuli.integrations import Follow, tensorboard

    follow = Follow(tensorboard.Tracker(writer), on_finding={"critical": "stop"})
    with dh.record(model, optimizer, to="runs/a", every=20, follow=follow) as recording:
        ...

Each of `lightning`, `transformers`, `tensorboard`, `wandb` and `mlflow` is a module of its own that
needs the package of its name and no other; they are imported when somebody names them.
"""

from __future__ import annotations

from deephochuli.integrations._active import NAMES as NAMES
from deephochuli.integrations._active import Active as Active
from deephochuli.integrations._callback import Training as Training
from deephochuli.integrations._follow import Follow as Follow
from deephochuli.integrations._follow_active import FollowActive as FollowActive
from deephochuli.integrations._numbers import Histogram as Histogram
from deephochuli.integrations._numbers import StepNumbers as StepNumbers
from deephochuli.integrations._numbers import numbers_of as numbers_of
from deephochuli.integrations._rules import Action as Action
from deephochuli.integrations._tracker import Alert as Alert
from deephochuli.integrations._tracker import Tracker as Tracker

__all__ = [
    "NAMES",
    "Action",
    "Active",
    "Alert",
    "Follow",
    "FollowActive",
    "Histogram",
    "StepNumbers",
    "Tracker",
    "Training",
    "numbers_of",
]
