"""The public face of recording: one context manager."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from pydantic import JsonValue
from torch import nn
from torch.optim import Optimizer

from deephochuli.config import Config
from deephochuli.errors import StoreError, TapError
from deephochuli.kernels import TensorJob, UpdateJob, cpu_backend, is_supported
from deephochuli.record._open import announce
from deephochuli.record._provenance import describe_run
from deephochuli.record._ranks import describe_rank, rank_here
from deephochuli.record._recorder import Recorder
from deephochuli.record._recording import Followed, Follower, Recording
from deephochuli.record._settings import Schedule, arguments_with, schedule_of
from deephochuli.record._triggers import Ring, Trigger, Watch
from deephochuli.store import Manifest, RunWriter, rank_folder
from deephochuli.taps import Attachment, Pattern, Selection, attach

Patterns = Pattern | list[Pattern] | tuple[Pattern, ...]


def record(
    model: nn.Module,
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
    *,
    to: str | os.PathLike[str] | None = None,
    every: Schedule | None = None,
    select: Selection | Patterns | None = None,
    max_bytes: int | None = None,
    watch: Watch | str | Trigger | Sequence[str | Trigger] | None = None,
    resume: bool | int | None = None,
    ranks: bool | None = None,
    extra: Mapping[str, JsonValue] | None = None,
    follow: Follower | None = None,
    config: str | os.PathLike[str] | Config | None = None,
) -> Recording:
    """Record what floating-point arithmetic does in a model while it trains.

    Nothing in the training changes, to the bit: losses, weights, optimizer and generator states
    are those of the same training without the recording. Nothing is put on the model, so copies
    and checkpoints of it know nothing of the recording.

    Args:
        model: Any module; its pre-activations, activations, their gradients and its parameters
            are looked at.
        optimizer: The optimizer or optimizers that change its parameters. Their steps are the
            steps of the recording. Without one, each call of the model is a step.
        to: Folder for the run; new or empty.
        every: Which steps to record: every n-th, ranges such as ``"0:100,1000:2000:10"``,
            ``"log"``, ``"auto"`` (ever fewer), a collection of steps, or a function of the step
            number. Every step by default.
        select: Which layers to look at: a glob, a regular expression ``"re:..."``, a module class,
            several of these, or a :class:`~deephochuli.taps.Selection` (which also chooses
            quantities). Every layer when None.
        max_bytes: Cap for the files of the run; recording ends there, training goes on.
        watch: Record more when something happens, with the steps before it: names of triggers
            (``"nonfinite"``, ``"loss-spike"``, ``"swamped"``, ``"underflow"``), functions of a step
            and its taps, or a :class:`Watch`. Watched steps are counted, so this costs as much as
            recording them; the disk is spared.
        resume: Go on with the run in the folder, if there is one: from the step of this number, as
            after loading a checkpoint (what was recorded from there on no longer counts), or, with
            True, from where it left off.
        ranks: Whether this process is one of several ranks, each of which records into a folder of
            its own below ``to``; :func:`~deephochuli.open_run` of ``to`` then merges them. None:
            if ``torch.distributed``, or ``torchrun``, says so. No rank ever waits for another one.
        extra: Further facts to keep in the manifest of the run.
        follow: Somebody to tell of steps and chunks while they come, such as
            :class:`deephochuli.integrations.Follow`, which feeds trackers and applies rules.
        config: A configuration file, or what was read of one: what is not given here is taken from
            its table ``[record]``.

    Returns:
        The recording, to be used in a ``with`` statement.

    Raises:
        TapError: The model has nothing to look at, the selection matches nothing, or the schedule
            cannot be read.
        StoreError: The folder cannot be written, or already holds something; with ``resume``, the
            run in it is of another model, or is being written.
        ConfigError: The configuration file says what cannot be.

    Example:
        >>> import tempfile, torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU())
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with record(model, optimizer, to=f"{folder}/run"):
        ...         model(torch.ones(2, 4)).sum().backward()
        ...         optimizer.step()
    """
    if config is not None:
        given = {
            **{"to": to, "every": every, "select": select, "max_bytes": max_bytes, "watch": watch},
            **{"resume": resume, "ranks": ranks, "extra": extra, "follow": follow},
        }
        return record(model, optimizer, **arguments_with(config, given))
    every, resume = 1 if every is None else every, False if resume is None else resume
    schedule = schedule_of(every)
    watching = _watch_of(watch)
    late = _Late(schedule)
    recorder = Recorder(late)
    selection = select if isinstance(select, Selection) else _selection_of(select)
    attachment = attach(model, () if optimizer is None else optimizer, recorder, selection)
    try:
        _warm_up(model)
        ring = _ring_of(watching, schedule)
        path, rank = _place_of(_named(to), ranks)
        manifest = _described(model, attachment, str(every), str(select or "all"), extra, rank)
        writer = RunWriter(
            path,
            manifest,
            max_bytes=max_bytes,
            resume=resume is not False,
            resume_step=None if isinstance(resume, bool) else resume,
        )
    except BaseException:
        attachment.detach()
        raise
    if ring is not None:
        late.schedule = ring.is_counted
        ring.connect(writer.append, writer.remark)
    recorder.start_at(writer.next_step)
    take = writer.append if ring is None else ring.take
    followed = None if follow is None else Followed(follow, take, writer, attachment.faults)
    recorder.connect(attachment, take if followed is None else followed.take)
    recording = Recording(recorder, attachment, writer, Path(_named(to)), ring, followed)
    announce(recording)
    if followed is not None:
        followed.begin(recording)
    return recording


def _described(
    model: nn.Module,
    attachment: Attachment,
    schedule: str,
    selection: str,
    extra: Mapping[str, JsonValue] | None,
    rank: tuple[int, int] | None,
) -> Manifest:
    """The manifest of a run that begins, with the user's facts and what this rank holds."""
    made = describe_run(model, attachment.optimizers, schedule=schedule, selection=selection)
    facts: dict[str, object] = {"extra": {**made.extra, **(extra or {})}}
    if rank is not None:
        facts["rank"] = describe_rank(attachment.model, *rank)
    return made.model_copy(update=facts)


def _place_of(
    to: str | os.PathLike[str], ranks: bool | None
) -> tuple[Path, tuple[int, int] | None]:
    """Where this process records, and its rank and how many there are, if it is one of several."""
    rank = None if ranks is False else rank_here()
    if rank is None:
        if ranks:
            raise TapError(
                "This process is not one of several ranks: torch.distributed is not initialised, "
                "and RANK and WORLD_SIZE are not set. Start it with torchrun, or leave ranks out."
            )
        return Path(to), None
    return rank_folder(Path(to), rank[0]), rank


def _named(to: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    if to is None:
        raise StoreError(
            "A recording needs a folder: give to='runs/NAME', or config= with a file whose table "
            "[record] says to = 'runs/NAME'."
        )
    return to


class _Late:
    """A schedule that can still be exchanged."""

    def __init__(self, schedule: Callable[[int], bool]) -> None:
        self.schedule = schedule

    def __call__(self, step: int) -> bool:
        """Say whether a step is recorded."""
        return self.schedule(step)


def _ring_of(watch: Watch | None, schedule: Callable[[int], bool]) -> Ring | None:
    return None if watch is None else Ring(watch, schedule, schedule_of(watch.steps))


def _watch_of(watch: Watch | str | Trigger | Sequence[str | Trigger] | None) -> Watch | None:
    if watch is None or isinstance(watch, Watch):
        return watch
    return Watch(on=(watch,) if isinstance(watch, str) or callable(watch) else tuple(watch))


def _warm_up(model: nn.Module) -> None:
    """Compile, or load, the loops that the first step will need, ahead of it."""
    backend = cpu_backend()
    for dtype in {p.dtype for p in model.parameters() if p.device.type == "cpu"}:
        ones = torch.ones(2, 2, dtype=dtype, device="cpu")
        if is_supported(ones):
            backend.summarise([TensorJob(ones, 1)])
            backend.summarise_updates([UpdateJob(ones, ones, ones)])


def _selection_of(select: Patterns | None) -> Selection:
    if select is None:
        return Selection()
    if isinstance(select, list | tuple):
        return Selection(include=tuple(cast("Sequence[Pattern]", select)))
    return Selection(include=(select,))
