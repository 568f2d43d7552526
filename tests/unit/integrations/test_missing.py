"""Without its package, an integration says how to install it, and nothing else is needed."""

import importlib
import sys
from importlib.abc import MetaPathFinder

import pytest

from deephochuli.errors import MissingExtraError
from deephochuli.integrations import tensorboard


class Uninstalled(MetaPathFinder):
    """Makes packages look as if they were not installed."""

    def __init__(self, *packages):
        self._packages = packages

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self._packages:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


@pytest.fixture
def uninstall(monkeypatch):
    """Hide packages, and forget what has been loaded of them and on top of them."""

    def hide(*packages):
        for name in list(sys.modules):
            if name.partition(".")[0] in packages or name.startswith(
                tuple(f"deephochuli.integrations.{package}" for package in packages)
            ):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [Uninstalled(*packages), *sys.meta_path])

    return hide


@pytest.mark.parametrize(
    ("module", "hidden", "message"),
    [
        (
            "lightning",
            ("lightning", "pytorch_lightning"),
            "A callback for Lightning needs the package 'lightning', which is not installed. "
            "Install it with: pip install 'deephochuli[lightning]'",
        ),
        (
            "transformers",
            ("transformers",),
            "A callback for the Trainer needs the package 'transformers', which is not installed. "
            "Install it with: pip install 'deephochuli[transformers]'",
        ),
        (
            "wandb",
            ("wandb",),
            "Logging to Weights & Biases needs the package 'wandb', which is not installed. "
            "Install it with: pip install 'deephochuli[wandb]'",
        ),
        (
            "mlflow",
            ("mlflow",),
            "Logging to MLflow needs the package 'mlflow-skinny', which is not installed. "
            "Install it with: pip install 'deephochuli[mlflow]'",
        ),
    ],
)
def test_without_its_package(uninstall, module, hidden, message):
    uninstall(*hidden)
    with pytest.raises(MissingExtraError) as caught:
        importlib.import_module(f"deephochuli.integrations.{module}")
    assert str(caught.value) == message


def test_a_log_folder_without_tensorboard(uninstall, tmp_path, monkeypatch):
    uninstall("tensorboard")
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard.writer", raising=False)
    with pytest.raises(MissingExtraError) as caught:
        tensorboard.log_run(None, tmp_path)
    assert str(caught.value) == (
        "A log for TensorBoard needs the package 'tensorboard', which is not installed. "
        "Install it with: pip install 'deephochuli[tensorboard]'"
    )


def test_the_rest_needs_none_of_them(uninstall):
    uninstall("lightning", "pytorch_lightning", "transformers", "wandb", "mlflow", "tensorboard")
    for name in [n for n in sys.modules if n.startswith("deephochuli.integrations")]:
        sys.modules.pop(name)
    importlib.import_module("deephochuli.integrations.tensorboard")
