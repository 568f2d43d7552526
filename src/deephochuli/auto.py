"""One line that has a script recorded, whatever it trains with.

    import deephochuli.auto

Every model that an optimizer trains afterwards is recorded, as `deephochuli run` would; Lightning
and the Trainer of transformers get a callback, so that a checkpoint goes on with its run; and what
is found is shown in the TensorBoard, the wandb run or the MLflow run that the script uses.
Importing it is the switch, and importing it again does nothing. Settings come from the tables
``[record]`` and ``[auto]`` of `deephochuli.toml` in the working folder, or of the file that the
environment variable ``DEEPHOCHULI_CONFIG`` names; ``DEEPHOCHULI_AUTO=off`` leaves the script alone.
"""

from __future__ import annotations

from deephochuli.session import start

start()
