"""A model exported to ONNX and executed by ONNX Runtime, as one more executor.

The export is one piece, so it is the model as a whole that is compared, forward only.
"""

# Neither package has types that say what is needed here.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingImports=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

import copy
import importlib
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from deephochuli.errors import CompareError, MissingExtraError

_NEEDED = ("onnx", "onnxscript", "onnxruntime")


def require() -> None:
    """Raise where ONNX cannot be used.

    Raises:
        MissingExtraError: A package is not installed.
    """
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingExtraError("Executing a model in ONNX Runtime", name, "onnx") from error


def replace_forward(model: nn.Module) -> None:
    """Let a model's forward run its export, which is made from what it is first called with."""
    plain = copy.deepcopy(model)
    sessions: list[Any] = []

    def forward(*args: Any, **kwargs: Any) -> Any:
        if not sessions:
            sessions.append(_session(plain, args, kwargs))
        return _run(sessions[0], plain, args, kwargs)

    model.forward = forward


def _session(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    import onnxruntime

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own, on torch's internals
            exported = torch.onnx.export(
                model, args, kwargs=kwargs or None, dynamo=True, verbose=False, optimize=False
            )
    except Exception as error:
        raise CompareError(
            f"{type(model).__name__} cannot be exported to ONNX: {type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}. Export a part of it, or leave "
            "'onnx' out."
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if exported is None:
        raise CompareError(f"{type(model).__name__} was exported to nothing.")
    blob = exported.model_proto.SerializeToString()
    return onnxruntime.InferenceSession(blob, options, providers=["CPUExecutionProvider"])


def _run(session: Any, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the export; its outputs take the places of the model's."""
    leaves = pytree.tree_leaves((args, kwargs))
    given = [leaf.detach().cpu().numpy() for leaf in leaves if isinstance(leaf, Tensor)]
    names = [each.name for each in session.get_inputs()]
    found = [
        torch.from_numpy(each) for each in session.run(None, dict(zip(names, given, strict=True)))
    ]
    with torch.no_grad():
        shape = model(*args, **kwargs)
    flat, form = pytree.tree_flatten(shape)
    outputs = iter(found)
    filled = [next(outputs) if isinstance(leaf, Tensor) else leaf for leaf in flat]
    return pytree.tree_unflatten(filled, form)
