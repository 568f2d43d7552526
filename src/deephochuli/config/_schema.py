"""Every setting that a configuration file may have: one table a command, and one for recording.

A field bears the name of the command's option, without the dashes in front and with underscores
inside; its default is that of the option. A test compares the two.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from deephochuli.config._values import QUANTITIES, is_quantity, is_schedule, pattern_fault

Severity = Literal["critical", "warning"]
Told = Literal["critical", "warning", "note"]
TrackerName = Literal["tensorboard", "wandb", "mlflow"]
Event = Literal["nonfinite", "loss-spike", "swamped", "underflow"]
_STEPS: Final = (
    "a number n for every n-th step, 'log', 'auto', ranges such as '0:100,1000:2000:10', or a "
    "list of steps"
)

_QUANTITIES: Final = f"a list of {', '.join(QUANTITIES)} or state:NAME"
_PATTERNS: Final = "a list of globs, and of regular expressions that begin with 're:'"


def _schedule(value: int | str | list[int]) -> int | str | list[int]:
    if isinstance(value, str) and not is_schedule(value):
        raise ValueError("no schedule")
    if value == [] or (isinstance(value, int) and value < 1):
        raise ValueError("no schedule")
    return value


def _pattern(value: str) -> str:
    if fault := pattern_fault(value):
        raise ValueError(fault)
    return value


def _quantity(value: str) -> str:
    if not is_quantity(value):
        raise ValueError("no quantity")
    return value


def _assignment(value: str) -> str:
    name, sign, _ = value.partition("=")
    if not name or not sign:
        raise ValueError("no assignment")
    return value


def _setting(
    default: Any, description: str, *, example: Any = None, expected: str = "", code: bool = False
) -> Any:
    """A field: its default, what it says, an example where there is no default, what is expected.

    `code` marks settings whose values can name Python code to import, or another machine.
    """
    extra: dict[str, JsonValue] = {"x-expected": expected} if expected else {}
    extra |= {"x-code": True} if code else {}
    extra |= {"examples": [example]} if example is not None else {}
    is_list = isinstance(default, list)
    given: dict[str, Any] = {"default_factory": list} if is_list else {"default": default}
    return Field(description=description, json_schema_extra=extra, **given)


Steps = Annotated[int | str | list[NonNegativeInt], AfterValidator(_schedule)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Quantity = Annotated[str, AfterValidator(_quantity)]
Assignment = Annotated[str, AfterValidator(_assignment)]


class _Table(BaseModel):
    """Settings of one command; values are of the type that they are written in."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Record(_Table):
    """Recording by `deephochuli run`, `import deephochuli.auto` and `record(..., config=...)`."""

    to: str | None = _setting(
        None,
        "Folder for the run; for the runs, one for each model, with `deephochuli run` and "
        "`import deephochuli.auto`.",
        example="runs/first",
    )
    every: Steps = _setting(
        "auto",
        'Steps to record: a number n for every n-th, "log", ranges, a list, or "auto": the first '
        "64, then ever fewer. When not given, `record` in Python takes every step.",
        expected=_STEPS,
    )
    select: list[Pattern] = _setting(
        [],
        'Only these layers: globs or "re:...".',
        example=["encoder.*", "re:fc[12]"],
        expected=_PATTERNS,
    )
    exclude: list[Pattern] = _setting(
        [], "Not these layers.", example=["head.*"], expected=_PATTERNS
    )
    quantity: list[Quantity] = _setting(
        [],
        "Only these quantities of z, a, dz, da, w, g, dw, state; all but da when empty.",
        example=["z", "g", "dw"],
        expected=_QUANTITIES,
    )
    outputs: bool = _setting(False, "Also the outputs of layers with parameters, and of the model.")
    max_bytes: PositiveInt | None = _setting(
        None, "Cap for the files of each run, in bytes.", example=1_000_000_000
    )
    watch: list[Event] = _setting(
        [], "Record more around these events; every watched step is counted.", example=["nonfinite"]
    )
    watch_steps: Steps = _setting(1, "Which steps to watch.", expected=_STEPS)
    watch_before: NonNegativeInt = _setting(8, "Watched steps to record before an event.")
    watch_after: NonNegativeInt = _setting(8, "Steps to record after an event.")
    resume: bool | NonNegativeInt = _setting(
        False,
        "In Python only: go on with the run in the folder, from where it left off or from a step.",
        expected="true, false or a step",
    )
    ranks: bool | None = _setting(
        None,
        "In Python only: whether this process is one of several ranks; found out when not given.",
        example=True,
    )
    extra: dict[str, JsonValue] = Field(
        default_factory=dict[str, JsonValue],
        description="In Python only: further facts for the manifest of the run.",
        json_schema_extra={"examples": [{"team": "vision"}]},
    )


class Run(_Table):
    """`deephochuli run`, beside what the table record says."""

    fail_on: Severity | None = _setting(
        None, "Exit with 1 for findings of this severity or a worse one.", example="critical"
    )
    quiet: bool = _setting(False, "Print nothing but faults of the recording.")


class Auto(_Table):
    """`import deephochuli.auto`, beside what the table record says."""

    trackers: list[TrackerName] | None = _setting(
        None,
        "Show numbers and findings in these only; in each that the script uses if not given.",
        example=["wandb"],
        expected="a list of 'tensorboard', 'wandb' or 'mlflow'",
    )
    tell: Told | None = _setting(
        None,
        "Say on standard error what is found of this level or a worse one, while training goes on; "
        "in the end only if not given.",
        example="critical",
    )
    quiet: bool = _setting(False, "Print nothing but faults of the recording.")


class _Page(_Table):
    """What commands that write a page have in common."""

    html: str | None = _setting(None, "Where to write the page.", example="page.html")
    title: str | None = _setting(None, "Heading of the page.", example="Nightly")
    json_: bool = Field(default=False, alias="json", description="Print JSON instead of tables.")


class Report(_Page):
    """`deephochuli report`."""

    figures: str | None = _setting(None, "Also write static figures there.", example="figures")
    fail_on: Severity | None = _setting(
        None, "Exit with 1 for findings of this severity or a worse one.", example="critical"
    )
    open: bool = _setting(False, "Show the page in the browser.")


class Watch(_Table):
    """`deephochuli watch`."""

    once: bool = _setting(False, "Print one frame and end.")
    every: Annotated[float, Field(ge=0.1)] = _setting(1.0, "Seconds between two looks.")


class Serve(_Table):
    """`deephochuli serve`."""

    port: Annotated[int, Field(ge=0, le=65535)] = _setting(
        0, "Port on this machine; 0 for any that is free."
    )
    open: bool = _setting(False, "Show the page in the browser.")


class Diff(_Page):
    """`deephochuli diff`."""

    rename: list[Assignment] = _setting(
        [],
        "Names of layers in the other runs, with those in the first.",
        example=["module.="],
        expected="a list of OLD=NEW",
    )
    replicate: list[str] = _setting(
        [], "Names of runs that repeat the first with other chances.", example=["seed1"]
    )
    all: bool = _setting(False, "Show every row.")
    fail_on: Literal["critical", "warning", "difference"] | None = _setting(
        None,
        "Exit with 1 for findings of this severity or a worse one, or for any difference.",
        example="difference",
    )


class Compare(_Page):
    """`deephochuli compare`."""

    arithmetic: list[str] = _setting(
        [], "How to execute the model.", example=["fp32", "bf16"], code=True
    )
    reference: str = _setting("fp64", "What counts as right.", code=True)
    verdict: str | None = _setting(None, "Judge this execution.", example="bf16", code=True)
    keep: str | None = _setting(
        None, "Find the layers to keep out of this arithmetic.", example="bf16", code=True
    )
    output_budget: float = _setting(0.01, "Relative error of the output to allow with keep.")
    gradient_budget: float = _setting(0.05, "Relative error of the gradients to allow with keep.")
    save: str | None = _setting(None, "Execute once and save it there.", example="here")
    as_: str | None = Field(
        default=None,
        alias="as",
        description="How to execute for save.",
        json_schema_extra={"examples": ["native"], "x-code": True},
    )
    model: str | None = _setting(
        None, "Judge two saved executions against this model, too.", example="m.py:make", code=True
    )
    all: bool = _setting(False, "Show every layer.")
    fail_on: Literal["flips", "suspect", "difference"] | None = _setting(
        None,
        "Exit with 1 when an output decides otherwise, the verdict names a suspect, or saved "
        "executions differ.",
        example="flips",
    )
    seed: int = _setting(0, "Seed of dropout and other random operators.")
    max_gib: PositiveFloat = _setting(8.0, "Memory that one execution may take, in GiB.")


class Examine(_Page):
    """`deephochuli examine`."""

    question: list[str] = _setting([], "What to ask.", example=["swamping", "death"])
    arithmetic: list[str] = _setting([], "As if computed in it.", example=["bf16"], code=True)
    data: str | None = _setting(
        None, "What returns batches, or (batches, loss).", example="m.py:batches", code=True
    )
    set: list[Assignment] = _setting(
        [],
        "Other arguments of the analyses.",
        example=["n_samples=16"],
        expected="a list of NAME=VALUE",
    )
    all: bool = _setting(False, "Show every row.")
    fail_on: Severity | None = _setting(
        None, "Exit with 1 for findings of this severity or a worse one.", example="critical"
    )
    seed: int = _setting(0, "Seed of everything random.")


class Fit(_Table):
    """`deephochuli fit`."""

    format: list[str] = _setting([], "Formats to ask about.", example=["bf16", "fp8-e4m3"])
    quantity: list[Quantity] = _setting(
        [], "Only these quantities.", example=["g"], expected=_QUANTITIES
    )
    all: bool = _setting(False, "Show every tensor.")
    json_: bool = Field(default=False, alias="json", description="Print JSON instead of tables.")


class Pieces(_Table):
    """`deephochuli pieces`."""

    from_: str | None = Field(
        default=None,
        alias="from",
        description="One end of the segment: .npy or .safetensors.",
        json_schema_extra={"examples": ["a.npy"]},
    )
    to: str | None = _setting(None, "The other end.", example="b.npy")
    random: int | None = _setting(None, "Seed of two random points.", example=0)
    data: str | None = _setting(None, "Two samples of a data set.", example="digits")
    samples: Annotated[list[int], Field(min_length=2, max_length=2)] = Field(
        default_factory=lambda: [0, 1],
        description="Which two, of the data set or of the model's batch.",
        json_schema_extra={"x-expected": "two numbers of samples"},
    )
    shape: str | None = _setting(None, "Shape of one input.", example="3,32,32")
    layer: str | None = _setting(None, "An inner module to count alone.", example="encoder")
    exact: bool = _setting(False, "Decide what rounding errors leave open exactly.")
    plane: bool = _setting(False, "On the square that a third point spans with the ends.")
    third: str | None = _setting(None, "The third point.", example="c.npy")
    third_sample: int = _setting(2, "Or which sample.")
    max_gib: PositiveFloat = _setting(0.25, "About how much memory to use, in GiB.")
    all: bool = _setting(False, "Show every layer.")
    html: str | None = _setting(None, "Also write a page there.", example="pieces.html")
    json_: bool = Field(default=False, alias="json", description="Print JSON instead of tables.")


class Study(_Table):
    """`deephochuli study`."""

    quick: bool = _setting(False, "A short plan.")
    to: str = _setting("runs/studies", "Where results are kept, and found again.")
    workers: PositiveInt | None = _setting(None, "Processes; one a core if not given.", example=2)
    engine: Literal["local", "ray"] = _setting("local", "What measures the points.")
    address: str | None = _setting(None, "Address of a Ray cluster.", example="auto", code=True)
    estimate: bool = _setting(False, "Tell what is left to measure and its cost; stop.")
    html: str | None = _setting(None, "Where to write the page.", example="studies.html")
    markdown: str | None = _setting(
        None, "Also write the answers into a document.", example="findings.md"
    )
    json_: bool = Field(default=False, alias="json", description="Print JSON instead of tables.")


class Formats(_Table):
    """`deephochuli formats`."""

    json_: bool = Field(default=False, alias="json", description="Print JSON instead of tables.")


class Doctor(_Table):
    """`deephochuli doctor`."""

    fail_on: Severity | None = _setting(
        None, "Exit with 1 for findings of this severity or a worse one.", example="critical"
    )
    json_: bool = Field(default=False, alias="json", description="Print JSON instead of tables.")


class Settings(_Table):
    """Settings of DeepHochuli: a table for recording, and one for each command."""

    record: Record = Record()
    run: Run = Run()
    auto: Auto = Auto()
    report: Report = Report()
    watch: Watch = Watch()
    serve: Serve = Serve()
    diff: Diff = Diff()
    compare: Compare = Compare()
    examine: Examine = Examine()
    fit: Fit = Fit()
    pieces: Pieces = Pieces()
    study: Study = Study()
    formats: Formats = Formats()
    doctor: Doctor = Doctor()


STEPS: Final = ("every", "watch_steps")
"""Settings of the table record that choose steps."""
SHARED: Final = {"run": ("record",), "auto": ("record",)}
"""Tables that a command reads beside its own."""
