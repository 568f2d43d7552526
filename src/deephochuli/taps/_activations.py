"""Which modules and which functions are activations."""

# Whether a module has parts is asked without walking them.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FUNCTION_NAMES: Final = (
    "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish hardsigmoid "
    "hardtanh sigmoid logsigmoid tanh softplus softsign softshrink hardshrink tanhshrink "
    "softmin softmax log_softmax gumbel_softmax glu threshold"
).split()

ATTENTION: Final = "attention"
CLAMP: Final = "clamp"
RELU: Final = "relu"
_KIND_OF_CLASS: Final[dict[str, str]] = {
    **{name.replace("_", ""): name for name in _FUNCTION_NAMES},
    "gelutanh": "gelu",
    "newgelu": "gelu",
    "fastgelu": "gelu",
    "pytorchgelutanh": "gelu",
    "accurategelu": "gelu",
    "softmax2d": "softmax",
}


def _functions() -> Iterator[tuple[Callable[..., Any], str]]:
    """Find every spelling torch has of an activation: functions, methods, in-place forms."""
    homes = (F, torch, Tensor, getattr(torch._C, "_nn", None))
    for kind in _FUNCTION_NAMES:
        for spelling in (kind, kind + "_", kind.replace("log", "log_")):
            for home in homes:
                function = getattr(home, spelling, None)
                if callable(function):
                    yield function, kind
    for name in ("clamp", "clamp_", "clamp_min", "clamp_min_", "clip", "clip_"):
        for home in (torch, Tensor):
            yield getattr(home, name), CLAMP
    yield F.scaled_dot_product_attention, ATTENTION
    yield F.multi_head_attention_forward, ATTENTION


FUNCTION_KINDS: Final[dict[Callable[..., Any], str]] = dict(_functions())
"""Every function that is looked at, and the kind of activation it computes."""

KINDS: Final = frozenset(FUNCTION_KINDS.values())


def is_rectifying_clamp(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Say whether a clamp is a rectifier in disguise: below at zero, open above."""
    low = args[1] if len(args) > 1 else kwargs.get("min")
    high = args[2] if len(args) > 2 else kwargs.get("max")
    return isinstance(low, int | float) and low == 0 and high is None


def activation_kind(module: nn.Module) -> str | None:
    """Name the activation a module computes, or None if it is no activation.

    Known are torch's own activation modules, those of `transformers.activations`, and classes
    without parameters, buffers and children whose name says what they are (``MySwish``).
    """
    return kind_of_class(type(module)) if not _has_parts(module) else None


def _has_parts(module: nn.Module) -> bool:
    """Say whether a module holds more than an activation does (PReLU's one weight is allowed)."""
    return not isinstance(module, nn.PReLU) and bool(module._modules or module._parameters)


@cache
def kind_of_class(cls: type[nn.Module]) -> str | None:
    """Name the activation that modules of a class compute, or None if they are no activations."""
    name = _plain_name(cls)
    if cls is nn.ReLU or (issubclass(cls, nn.ReLU) and cls.forward is nn.ReLU.forward):
        return RELU
    if cls.__module__ == nn.ReLU.__module__ or cls.__module__ == "transformers.activations":
        return _KIND_OF_CLASS.get(name, name)
    if name == RELU:  # someone's own ReLU may be anything; only torch's lets `a` follow from z
        return "custom_relu"
    looks_alike = any(kind in name for kind in ("relu", "gelu", "silu", "swish", "mish"))
    return _KIND_OF_CLASS.get(name, name) if looks_alike or name in _KIND_OF_CLASS else None


def _plain_name(cls: type[nn.Module]) -> str:
    name = cls.__name__.lower()
    return name.removesuffix("activation").replace("_", "") or name
