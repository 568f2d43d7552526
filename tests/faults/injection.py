"""Making any part of the instrument fail, with any error, at any moment."""

import errno
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch


class HostileError(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


ERRORS: dict[str, Callable[[], Exception]] = {
    "RuntimeError": lambda: RuntimeError("injected"),
    "MemoryError": MemoryError,
    "disk full": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "hostile": HostileError,
    "permission": lambda: PermissionError(errno.EACCES, "Permission denied"),
    "recursion": lambda: RecursionError("maximum recursion depth exceeded"),
    "StopIteration": StopIteration,
    "out of memory": lambda: torch.OutOfMemoryError("CUDA out of memory"),
}
# The error is raised in the first call, in the third, or in every one.
MOMENTS: dict[str, Callable[[int], bool]] = {
    "first": lambda n: n == 1,
    "third": lambda n: n == 3,
    "always": lambda n: True,
}


@dataclass
class Fault:
    """One attribute, replaced by something that raises, between `begin` and `end`."""

    site: str
    error: str
    moment: str
    n_calls: int = 0
    n_raised: int = 0

    def __post_init__(self) -> None:
        module, _, path = self.site.partition(":")
        *owners, self._name = path.split(".")
        self._owner: Any = importlib.import_module(module)
        for name in owners:
            self._owner = getattr(self._owner, name)
        # As it is kept: a static or a class method is one, looked up by the class it is not.
        self._original = vars(self._owner)[self._name]
        self._call = getattr(self._owner, self._name)

    def begin(self) -> None:
        setattr(self._owner, self._name, self._faulty())

    def end(self) -> None:
        setattr(self._owner, self._name, self._original)

    def _faulty(self) -> Callable[..., Any]:
        def faulty(*args: Any, **kwargs: Any) -> Any:
            self.n_calls += 1
            if MOMENTS[self.moment](self.n_calls):
                self.n_raised += 1
                raise ERRORS[self.error]()
            return self._call(*args, **kwargs)

        return faulty


RECORDER = "deephochuli.record._recorder:"
STEP = "deephochuli.record._step:"
TAPS = "deephochuli.taps."
STORE = "deephochuli.store."
# Every part that is called while a training goes on, from the outside in.
SITES = (
    # what the taps tell
    f"{RECORDER}Recorder.is_recording",
    f"{RECORDER}Recorder.forward_begins",
    f"{RECORDER}Recorder.forward_ends",
    f"{RECORDER}Recorder.see",
    f"{RECORDER}Recorder.before_update",
    f"{RECORDER}Recorder.after_update",
    f"{RECORDER}Recorder.update_skipped",
    f"{RECORDER}Recorder.log",
    # inside the recorder
    f"{RECORDER}Recorder._keep",
    f"{RECORDER}Recorder._buffer",
    f"{RECORDER}Recorder._read_update",
    f"{RECORDER}Recorder._read_gradients",
    f"{RECORDER}Recorder._summarise",
    f"{RECORDER}Recorder._begin_step",
    f"{RECORDER}Recorder._end_step",
    f"{RECORDER}_copy_all",
    f"{STEP}Step.all_taps",
    f"{STEP}row_of",
    f"{RECORDER}row_of",
    f"{STEP}UpdateFacts.rows",
    f"{RECORDER}_learning_rates",
    f"{RECORDER}_dense",
    f"{RECORDER}backend_for",
    f"{RECORDER}is_supported",
    # taps
    f"{TAPS}_forward:ForwardWatch._enter",
    f"{TAPS}_forward:ForwardWatch._leave",
    f"{TAPS}_look:Look.at_module_input",
    f"{TAPS}_look:Look.at_module_outputs",
    f"{TAPS}_look:Look.at_function_input",
    f"{TAPS}_look:Look.at_output",
    f"{TAPS}_look:Look._hook",
    f"{TAPS}_catalogue:Catalogue.module_slot",
    f"{TAPS}_catalogue:Catalogue.function_slot",
    f"{TAPS}_catalogue:Catalogue.output_slot",
    f"{TAPS}_parameters:ParameterCatalogue.taps",
    f"{TAPS}_parameters:ParameterCatalogue._place",
    f"{TAPS}_parameters:parameter_channel_dim",
    f"{TAPS}_frames:Call.count",
    # kernels
    "deephochuli.kernels._cpu:CpuBackend.rows",
    "deephochuli.kernels._cpu:CpuBackend.summarise",
    "deephochuli.kernels._cpu:CpuBackend.summarise_updates",
    "deephochuli.kernels._cpu:_Call.run",
    # store
    f"{STORE}_writer:RunWriter._take",
    f"{STORE}_writer:RunWriter._is_chunk_due",
    f"{STORE}_writer:RunWriter._write_block",
    f"{STORE}_writer:RunWriter._write_chunk",
    f"{STORE}_writer:step_frame",
    f"{STORE}_writer:ChunkDraft",
    f"{STORE}_writer:write_manifest",
    f"{STORE}_chunk:ChunkDraft.add",
    f"{STORE}_chunk:ChunkDraft.complete",
    f"{STORE}_chunk:ChunkDraft.publish",
    f"{STORE}_chunk:merge_by_tap",
    f"{STORE}_chunk:frame_table",
    f"{STORE}_chunk:step_table",
    f"{STORE}_chunk:open_writer",
    f"{STORE}_chunk:size_of",
    f"{STORE}_chunk:publish_folder",
    f"{STORE}_files:make_durable",
    # the system
    "os:fsync",
    "pathlib:Path.rename",
    "pathlib:Path.replace",
    "pathlib:Path.mkdir",
    "pathlib:Path.write_bytes",
)


def cases() -> Iterator[tuple[str, str, str]]:
    """Every site with every error in the first call, and with one error at every moment."""
    for site in SITES:
        for error in ERRORS:
            yield site, error, "first"
        for moment in ("third", "always"):
            yield site, "RuntimeError", moment
            yield site, "disk full", moment


def name_of(case: tuple[str, str, str]) -> str:
    site, error, moment = case
    return f"{site.rpartition(':')[2]}-{error}-{moment}"
