"""The questions that ``deephochuli examine`` can ask, and how an analysis is called for each.

An analysis is called with what it names among its own parameters: model, batch, data, loss,
optimizer, arithmetic or arithmetics, seed, and whatever options the user sets. So a new question is
one line below, as long as its result has a ``sheet()``.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from deephochuli.errors import CompareError, near_matches

if TYPE_CHECKING:
    from deephochuli.analysis import Sheet


@dataclass(frozen=True, slots=True)
class Question:
    """Where a question is answered.

    Attributes:
        home: Module below ``deephochuli.analysis``; imported when the question is asked.
        function: Its function, whose result has a ``sheet()``.
        asks: The question, for the help.
    """

    home: str
    function: str
    asks: str


QUESTIONS: Final[dict[str, Question]] = {
    "swamping": Question("swamping", "swamping", "which sums swallow their addends"),
    "significance": Question("significance", "significance", "how many bits mean anything"),
    "barrier": Question("barrier", "barrier", "what limits the smallest pre-activations"),
    "backward": Question("backward", "backward", "what formats do to the gradients"),
    "death": Question("death", "death", "which units are dead, and by what cause"),
    "kink": Question("kink", "kink", "what hangs on the derivative at zero"),
    "rounding-bias": Question("rounding_bias", "rounding_bias", "which rounding takes one side"),
    "assumptions": Question(
        "assumptions", "assumptions_between", "what noise on updates does to affine pieces"
    ),
}
DEFAULT: Final = ("swamping", "significance")
_OWN: Final = ("model", "batch", "data", "loss", "optimizer", "arithmetic", "arithmetics", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a question is asked about.

    Attributes:
        model: The model.
        batch: Its input.
        loss: Makes a scalar of the model's output; None if the user gave none.
        optimizer: Of the model; None if the user gave none.
        data: Batches of inputs, or of inputs and target; None if the user gave none.
        data_loss: Makes a scalar of output and target.
        seed: Of everything random.
    """

    model: Any
    batch: Any
    loss: Any = None
    optimizer: Any = None
    data: Any = None
    data_loss: Any = None
    seed: int = 0


def question_of(name: str) -> Question:
    """The question of a name.

    Raises:
        CompareError: There is no such question; near matches are named.
    """
    if name not in QUESTIONS:
        raise CompareError(f"There is no question {name!r}. {near_matches(name, QUESTIONS)}")
    return QUESTIONS[name]


def answered(
    name: str, asked: Asked, arithmetics: Sequence[str], options: Mapping[str, str]
) -> list[Sheet]:
    """Ask one question.

    Args:
        name: Of the question.
        asked: What it is asked about.
        arithmetics: Names of arithmetics; an analysis that takes one is asked once for each.
        options: Other parameters of the analysis, as the user wrote them.

    Raises:
        CompareError: The analysis needs something that is not there, or takes no arithmetic.
    """
    function = _function(name)
    parameters = inspect.signature(function).parameters
    offers = _offers(name, asked, parameters) | _options(name, options, parameters)
    calls = [offers | more for more in _arithmetics(name, arithmetics, parameters)]
    _check(name, calls[0], parameters)
    return [function(**arguments).sheet() for arguments in calls]


def takes(name: str, parameter: str) -> bool:
    """Whether the analysis of a question has a parameter that the user may set."""
    return parameter in inspect.signature(_function(name)).parameters and parameter not in _OWN


def settable(names: Sequence[str]) -> list[str]:
    """Parameters of some questions' analyses that the user may set."""
    found = [p for name in names for p in inspect.signature(_function(name)).parameters]
    return [each for each in dict.fromkeys(found) if each not in _OWN]


def _function(name: str) -> Callable[..., Any]:
    question = question_of(name)
    module = importlib.import_module(f"deephochuli.analysis.{question.home}")
    found: Callable[..., Any] = getattr(module, question.function)
    return found


def _offers(name: str, asked: Asked, parameters: Mapping[str, object]) -> dict[str, Any]:
    """What there is, by the names of the parameters that take it."""
    loss = asked.loss
    data = asked.data if asked.data is not None else [asked.batch]
    if "data" in parameters:
        loss = asked.data_loss if asked.data is not None else _of_output(asked.loss)
    offers = {
        "model": asked.model,
        "batch": asked.batch,
        "data": data,
        "loss": loss,
        "optimizer": asked.optimizer,
        "seed": asked.seed,
    }
    if "data" in parameters and loss is None:
        offers["optimizer"] = None  # a step needs a loss of output and target
    return {key: value for key, value in offers.items() if key in parameters and value is not None}


def _of_output(loss: Any) -> Any:
    """A loss of the output as one of output and target."""
    if loss is None:
        return None

    def of_both(output: Any, target: Any = None) -> Any:
        del target
        return loss(output)

    return of_both


def _arithmetics(
    name: str, arithmetics: Sequence[str], parameters: Mapping[str, object]
) -> list[dict[str, Any]]:
    """Arguments that say in which arithmetics; one mapping for each call."""
    if not arithmetics:
        return [{}]
    for parameter in ("arithmetics", "executions"):
        if parameter in parameters:
            return [{parameter: list(arithmetics)}]
    if "arithmetic" in parameters:
        return [{"arithmetic": each} for each in arithmetics]
    raise CompareError(
        f"The question {name!r} is about the model as it is and takes no arithmetic: ask it apart "
        "from those that do."
    )


def _options(
    name: str, options: Mapping[str, str], parameters: Mapping[str, inspect.Parameter]
) -> dict[str, Any]:
    """The options that this analysis takes, as values of their kind."""
    own = {key: text for key, text in options.items() if key in parameters and key not in _OWN}
    return {key: value_of(name, parameters[key], text) for key, text in own.items()}


def value_of(name: str, parameter: inspect.Parameter, text: str) -> Any:
    """A text as the value of a parameter: a number, true, false, a list, or the text itself.

    Raises:
        CompareError: The parameter has a number or a truth value, and the text is none.
    """
    try:
        value: object = json.loads(text)
    except ValueError:
        value = text
    default: object = parameter.default
    for kind, wanted in _KINDS.items():
        if type(default) is kind and type(value) is not kind:
            if kind is float and type(value) is int:
                return float(value)
            raise CompareError(
                f"{parameter.name}={text!r} does not fit the question {name!r}: expected {wanted}, "
                f"such as {default!r}."
            )
    return value


_KINDS: Final[dict[type, str]] = {bool: "true or false", int: "a whole number", float: "a number"}


def _check(
    name: str, arguments: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]
) -> None:
    """Refuse a call that lacks something."""
    lacking = [
        key
        for key, each in parameters.items()
        if each.default is inspect.Parameter.empty and key not in arguments
    ]
    if lacking:
        raise CompareError(
            f"The question {name!r} needs {' and '.join(lacking)}, which was not given. Expected a "
            "MODEL that returns (model, batch, loss, optimizer), or a dict with these keys; "
            "everything else by --set NAME=VALUE."
        )
