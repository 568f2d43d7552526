"""Switching a session on from within the script, by what a configuration file says."""

from __future__ import annotations

import atexit
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from deephochuli.config import find_config, read_config
from deephochuli.errors import MissingExtraError
from deephochuli.session._home import Home, default_home
from deephochuli.session._script import this_script
from deephochuli.session._session import Session, current_session

SWITCH: Final = "DEEPHOCHULI_AUTO"
"""Environment variable: ``off`` leaves the script alone."""
CONFIG: Final = "DEEPHOCHULI_CONFIG"
"""Environment variable: a configuration file; ``none`` for none."""

_PACKAGES: Final = {
    "tensorboard": ("tensorboard", "A log for TensorBoard", "tensorboard"),
    "wandb": ("wandb", "Logging to Weights & Biases", "wandb"),
    "mlflow": ("mlflow", "Logging to MLflow", "mlflow-skinny"),
}
"""What a tracker imports, what for, and what brings it."""

_NAMES: Final = {"quantity": "quantities"}
"""Settings that have another name among the fields of `deephochuli.record.Options`."""
_OPTIONS: Final = (
    *("every", "select", "exclude", "quantity", "outputs", "max_bytes", "extra"),
    *("watch", "watch_steps", "watch_before", "watch_after"),
)


def start() -> Session | None:
    """Record whatever this process trains from now on, once however often it is called.

    Returns:
        The session; None in a worker process, and where the environment says so.

    Raises:
        ConfigError: The configuration file says what cannot be.
        MissingExtraError: It names a tracker that is not installed.
    """
    if _is_worker() or os.environ.get(SWITCH, "").lower() in ("off", "0", "no", "false"):
        return None
    session = current_session()
    if session is None:
        session = _session(_settings())
        atexit.register(session.close)
        session.start()
    return session


def _is_worker() -> bool:
    """Whether `multiprocessing` has started this process, which has imported the script once more.

    It is not imported for that: it takes note of what ``__main__`` is when it is imported.
    """
    process: Any = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _settings() -> dict[str, Any]:
    """What the file that the environment names says, or one that lies in the working folder."""
    named = os.environ.get(CONFIG, "")
    if named.lower() == "none":
        return {}
    if named:
        return read_config(named).of_command("auto")
    found = find_config()
    return {} if found is None else read_config(found, is_trusted=False).of_command("auto")


def _session(said: Mapping[str, Any]) -> Session:
    trackers = said.get("trackers")
    for name in trackers or ():
        _check_installed(name)
    script = this_script()
    to = said.get("to")
    home = default_home(script.name) if to is None else Home(Path(to), is_given=True)
    options = {_NAMES.get(name, name): said[name] for name in _OPTIONS if name in said}
    how = {name: said[name] for name in ("quiet", "tell") if name in said}
    return Session(script, home, options, trackers=trackers, **how)


def _check_installed(tracker: str) -> None:
    """Refuse a tracker that was asked for by name and cannot be imported; import nothing."""
    module, purpose, package = _PACKAGES[tracker]
    try:
        is_there = importlib.util.find_spec(module) is not None
    except ImportError:  # some finders do not leave it to others
        is_there = False
    if not is_there:
        raise MissingExtraError(purpose, package, tracker)
