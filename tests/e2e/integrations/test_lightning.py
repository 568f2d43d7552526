"""Lightning itself, with our callback."""

import subprocess
import sys
import warnings
from functools import partial
from itertools import pairwise

import pytest
import torch

import deephochuli as dh
from deephochuli.session import start
from deephochuli.session._factory import lightning_callbacks
from tests.e2e.integrations.scripts import assert_neutral, assert_same_weights
from tests.unit.integrations.trackers import Kept

pl = pytest.importorskip("lightning.pytorch")
from lightning.pytorch.plugins.precision import MixedPrecision  # noqa: E402 (needs the above)

from deephochuli.integrations.lightning import DeepHochuliCallback  # noqa: E402 (needs the above)

pytestmark = [
    pytest.mark.integration,
    # What Lightning says of its own use of torch, and of this small training.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


class Net(pl.LightningModule):
    """Two layers; keeps the losses that it computes, and can be given a bad batch."""

    def __init__(self, bad_at=None, n_optimizers=1):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU())
        self.head = torch.nn.Linear(8, 2)
        self.losses, self.bad_at = [], bad_at
        self.n_optimizers = n_optimizers
        self.automatic_optimization = n_optimizers == 1

    def training_step(self, batch, batch_idx):
        x, y = batch
        if self.bad_at == len(self.losses):
            x = x / 0
        loss = torch.nn.functional.cross_entropy(self.head(self.body(x)), y)
        self.losses.append(float(loss.detach()))
        if self.n_optimizers > 1:
            self._by_hand(loss)
        return loss

    def _by_hand(self, loss):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()

    def configure_optimizers(self):
        parts = [self.parameters()]
        if self.n_optimizers > 1:
            parts = [self.body.parameters(), self.head.parameters()]
        return [torch.optim.Adam(part, lr=0.01) for part in parts]


def batches():
    draw = torch.Generator().manual_seed(1)
    data = torch.utils.data.TensorDataset(
        torch.randn(48, 6, generator=draw), torch.randint(2, (48,), generator=draw)
    )
    return torch.utils.data.DataLoader(data, batch_size=8)


def fit(folder, callback, *, make=Net, ckpt_path=None, epochs=2, **options):
    """Six steps an epoch; the module and its trainer."""
    pl.seed_everything(0, verbose=False)
    net = make()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callback or [],
        **options,
    )
    trainer.fit(net, batches(), ckpt_path=ckpt_path)
    return net, trainer


def test_the_script_is_recorded_and_trains_the_same(tmp_path):
    run = dh.open_run(assert_neutral("lightning_digits", tmp_path) / "run")
    assert run.finished
    assert run.steps["step"].tolist() == list(range(0, 58, 5))
    assert {"net.1", "net.4.weight"} <= {tap.layer for tap in run.taps()}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"precision": "bf16-mixed"},
        {"gradient_clip_val": 0.1},
        {"accumulate_grad_batches": 3},
    ],
    ids=str,
)
def test_ways_of_lightning_are_neutral_and_losses_are_those_of_the_module(tmp_path, options):
    plain, _ = fit(tmp_path, None, **options)
    net, _ = fit(tmp_path, DeepHochuliCallback(tmp_path / "run", every=1), **options)
    assert_same_weights(plain, net)
    run = dh.open_run(tmp_path / "run")
    n = options.get("accumulate_grad_batches", 1)
    assert run.steps["loss"].tolist() == pytest.approx(net.losses[n - 1 :: n], rel=1e-6)
    assert set(run.steps["n_micro_batches"].tolist()) == {n}


@pytest.mark.parametrize("fused", [False, True])
def test_steps_that_a_scaler_skips_are_those_of_lightning(tmp_path, fused):
    """FP16 with a scale that overflows at first."""

    class Scaled(Net):
        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01, fused=fused)

    def train(callback):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=4)
        precision = MixedPrecision("16-mixed", "cpu", scaler=scaler)
        return fit(tmp_path, callback, make=Scaled, plugins=[precision])[0]

    plain, net = train(None), train(DeepHochuliCallback(tmp_path / "run", every=1))
    assert_same_weights(plain, net)
    run = dh.open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == list(range(12))
    scales, skipped = run.steps["loss_scale"].tolist(), run.steps["skipped"].tolist()
    assert skipped[:2] == [True, True]
    assert not all(skipped)
    # A skipped step halves the scale; nothing else does.
    assert [after < before for before, after in pairwise(scales)] == skipped[:-1]
    assert run.steps["loss"].tolist() == pytest.approx(net.losses, rel=1e-6)


def test_several_optimizers_end_a_step_together(tmp_path):
    plain, _ = fit(tmp_path, None, make=partial(Net, n_optimizers=2))
    callback = DeepHochuliCallback(tmp_path / "run", every=1)
    net, _ = fit(tmp_path, callback, make=partial(Net, n_optimizers=2))
    assert_same_weights(plain, net)
    run = dh.open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == list(range(12))
    assert {"body.0.weight", "head.weight"} <= {t.layer for t in run.taps() if t.quantity == "dw"}


@pytest.mark.parametrize("n_optimizers", [1, 2])
def test_a_checkpoint_goes_on_with_the_run(tmp_path, n_optimizers):
    kept, make = Kept(), partial(Net, n_optimizers=n_optimizers)
    whole, _ = fit(tmp_path, None, epochs=3, make=make)
    callback = DeepHochuliCallback(tmp_path / "run", every=1)
    _, trainer = fit(tmp_path, callback, epochs=1, make=make)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    trainer.fit_loop.max_epochs = 2
    trainer.fit(trainer.model, batches())  # six steps more, which the checkpoint knows nothing of
    assert len(dh.open_run(tmp_path / "run").steps["step"]) == 12
    net, _ = fit(
        tmp_path,
        DeepHochuliCallback(tmp_path / "run", every=1, trackers=[kept]),
        epochs=3,
        ckpt_path=tmp_path / "last.ckpt",
        make=make,
    )
    assert_same_weights(whole, net)
    run = dh.open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == list(range(18))
    assert run.steps["loss"][6:].tolist() == pytest.approx(net.losses, rel=1e-6)
    assert [each.step for each in kept.numbers] == list(range(6, 18))
    assert [session.first_step for session in run.manifest.sessions] == [None, 6, 6]


def test_a_rule_saves_a_checkpoint_and_ends_the_training(tmp_path):
    callback = DeepHochuliCallback(
        tmp_path / "run", every=1, on_finding={"nonfinite": ("snapshot", "stop")}
    )
    _, trainer = fit(tmp_path, callback, make=partial(Net, bad_at=3))
    assert trainer.global_step == 4
    saved = torch.load(tmp_path / "run-nonfinite-step4.ckpt", weights_only=True)
    assert saved["global_step"] == 4
    assert saved["callbacks"]["DeepHochuliCallback"] == {"n_steps": 4}
    assert dh.open_run(tmp_path / "run").finished


def test_a_training_that_fails_leaves_a_complete_run(tmp_path):
    class Broken(Net):
        def training_step(self, batch, batch_idx):
            if len(self.losses) == 2:
                raise RuntimeError("a bug of the user's")
            return super().training_step(batch, batch_idx)

    with pytest.raises(RuntimeError, match="a bug of the user's"):
        fit(tmp_path, DeepHochuliCallback(tmp_path / "run", every=1), make=Broken)
    run = dh.open_run(tmp_path / "run")
    assert run.finished
    assert run.steps["step"].tolist() == [0, 1]


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A session as `import deephochuli.auto` switches it on."""
    monkeypatch.chdir(tmp_path)
    on = start()
    yield on
    on.close()


def test_a_callback_of_the_users_own_comes_before_that_of_a_session(tmp_path, session):
    own = DeepHochuliCallback(tmp_path / "run", every=1)
    fit(tmp_path, [own, *lightning_callbacks()])
    assert len(dh.open_run(tmp_path / "run").steps["step"]) == 12
    assert not (tmp_path / "runs").exists()


def test_a_list_of_callbacks_that_serves_two_trainers_holds_two_of_ours(tmp_path, session):
    callbacks = lightning_callbacks()
    fit(tmp_path, callbacks)
    callbacks += lightning_callbacks()
    plain, _ = fit(tmp_path, None)
    net, _ = fit(tmp_path, callbacks)
    assert_same_weights(plain, net)
    session.close()
    runs = {path.name: dh.open_run(path) for path in (tmp_path / "runs").glob("*/*")}
    # The one without a callback is found by its optimizer, as in a plain loop.
    assert {name: len(run.steps["step"]) for name, run in runs.items()} == {
        "Net": 12, "Net-2": 12, "Net-3": 12,
    }  # fmt: skip


def test_a_checkpoint_with_an_entry_of_ours_needs_nothing_of_ours(tmp_path, session):
    _, trainer = fit(tmp_path, lightning_callbacks(), epochs=1)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    session.close()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*callbacks used to create the checkpoint")
        whole, _ = fit(tmp_path, None)
        net, _ = fit(tmp_path, None, ckpt_path=tmp_path / "last.ckpt")
    assert_same_weights(whole, net)


def test_the_older_name_of_the_package_serves_as_well():
    code = (
        "import pytorch_lightning\n"
        "from deephochuli.integrations.lightning import DeepHochuliCallback as C\n"
        "assert issubclass(C, pytorch_lightning.Callback)\n"
        "import sys; print('lightning.pytorch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"
