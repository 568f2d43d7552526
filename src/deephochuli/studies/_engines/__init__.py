"""What measures the points of a plan: processes of this machine, or the workers of a cluster."""

from __future__ import annotations

from deephochuli.studies._engines._engine import Engine as Engine
from deephochuli.studies._engines._engine import Job as Job
from deephochuli.studies._engines._engine import Measured as Measured
from deephochuli.studies._engines._local import Local as Local
from deephochuli.studies._engines._ray import Ray as Ray

__all__ = ["Engine", "Job", "Local", "Measured", "Ray"]
