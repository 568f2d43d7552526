"""The Trainer of transformers itself, with our callback; and loops of accelerate without one."""

import copy
import json
import os

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"  # read when it is imported

import deephochuli as dh
from deephochuli.session import start
from tests.e2e.integrations.scripts import assert_neutral, assert_same_weights
from tests.unit.integrations.trackers import Kept, model_and_optimizer

transformers = pytest.importorskip("transformers")
accelerate = pytest.importorskip("accelerate")
from deephochuli.integrations.transformers import DeepHochuliCallback  # noqa: E402 (needs the above)

pytestmark = pytest.mark.integration


def rows():
    starts = torch.randint(32, (64, 1), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": row} for row in (starts + torch.arange(8)) % 32]


def small_gpt2(dtype=torch.float32):
    config = transformers.GPT2Config(
        vocab_size=32,
        n_positions=8,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=None,
        eos_token_id=None,
    )
    return transformers.GPT2LMHeadModel(config).to(dtype)


def fit(folder, callback, *, resume=None, make=small_gpt2, trainer=transformers.Trainer, **options):
    """Twelve steps; the trainer."""
    torch.manual_seed(0)
    given = {"max_steps": 12, "save_strategy": "no", "per_device_train_batch_size": 8} | options
    made = trainer(
        make(),
        transformers.TrainingArguments(
            output_dir=str(folder / "checkpoints"),
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            **given,
        ),
        train_dataset=rows(),
        callbacks=[callback] if callback else [],
    )
    made.train(resume_from_checkpoint=resume)
    return made


class Heard(transformers.Trainer):
    """Keeps the loss of each step as the Trainer computes it."""

    def training_step(self, *given, **options):
        loss = super().training_step(*given, **options)
        self.heard = [*getattr(self, "heard", []), float(loss)]
        return loss


def test_the_script_is_recorded_and_trains_the_same(tmp_path):
    run = dh.open_run(assert_neutral("trainer_gpt2", tmp_path) / "run")
    assert run.finished
    assert run.steps["step"].tolist() == list(range(0, 40, 5))
    layers = {tap.layer for tap in run.taps()}
    assert {"transformer.h.0.mlp.act", "transformer.h.1.attn.c_attn.weight"} <= layers


@pytest.mark.parametrize(
    "options",
    [{}, {"bf16": True}, {"gradient_accumulation_steps": 2}, {"optim": "adafactor"}],
    ids=str,
)
def test_ways_of_the_trainer_are_neutral(tmp_path, options):
    plain = fit(tmp_path, None, **options)
    callback = DeepHochuliCallback(tmp_path / "run", every=1)
    recorded = fit(tmp_path, callback, trainer=Heard, **options)
    assert_same_weights(plain.model, recorded.model)
    run = dh.open_run(tmp_path / "run")
    n = options.get("gradient_accumulation_steps", 1)
    assert run.steps["step"].tolist() == list(range(12))
    assert set(run.steps["n_micro_batches"].tolist()) == {n}
    if n == 1:
        assert run.steps["loss"].tolist() == pytest.approx(recorded.heard, rel=1e-6)
    else:
        assert not run.steps["has_loss"].any()


def test_a_checkpoint_goes_on_with_the_run(tmp_path):
    whole = fit(tmp_path, None)
    callback = DeepHochuliCallback(tmp_path / "run", every=1)
    fit(tmp_path, callback, save_strategy="steps", save_steps=5)
    kept = Kept()
    resumed = fit(
        tmp_path,
        DeepHochuliCallback(tmp_path / "run", every=1, trackers=[kept]),
        resume=str(tmp_path / "checkpoints" / "checkpoint-5"),
        save_steps=5,
    )
    assert_same_weights(whole.model, resumed.model)
    run = dh.open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == list(range(12))
    assert [session.first_step for session in run.manifest.sessions] == [None, 5]
    assert run.superseded == ["chunk-000001", "chunk-000002"]  # the flushes beside checkpoints
    assert [each.step for each in kept.numbers] == list(range(5, 12))


def overflowing():
    """A model whose weights in FP16 leave the range in the first forward."""
    model = small_gpt2()
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.weight.mul_(1e38)
    return model


def test_a_rule_saves_a_checkpoint_and_ends_the_training(tmp_path):
    rules = {"nonfinite": ("snapshot", "stop")}
    callback = DeepHochuliCallback(tmp_path / "run", every=1, on_finding=rules)
    trainer = fit(tmp_path, callback, make=overflowing)
    assert trainer.state.global_step == 1
    assert (tmp_path / "checkpoints" / "checkpoint-1" / "model.safetensors").exists()
    run = dh.open_run(tmp_path / "run")
    assert run.finished
    assert "non-finite" in [finding.kind for finding in dh.findings(run)]


def test_evaluation_between_steps_is_left_out(tmp_path):
    callback = DeepHochuliCallback(tmp_path / "run", every=1)
    torch.manual_seed(0)
    trainer = transformers.Trainer(
        small_gpt2(),
        transformers.TrainingArguments(
            output_dir=str(tmp_path / "checkpoints"),
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            save_strategy="no",
            max_steps=4,
            eval_strategy="steps",
            eval_steps=2,
        ),
        train_dataset=rows(),
        eval_dataset=rows(),
        callbacks=[callback],
    )
    trainer.train()
    run = dh.open_run(tmp_path / "run")
    assert run.steps["n_micro_batches"].tolist() == [1, 1, 1, 1]
    assert not [h for h in torch.nn.modules.module._global_forward_hooks.values()]


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("unwrapped", [False, True])
def test_a_loop_of_accelerate_needs_the_prepared_parts_only(tmp_path, precision, unwrapped):
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)  # one for the process
    accelerator = accelerate.Accelerator(
        cpu=True, mixed_precision=precision, gradient_accumulation_steps=2
    )

    def train(folder):
        made, its_optimizer = model_and_optimizer()
        model, optimizer = accelerator.prepare(made, its_optimizer)
        recording = None
        if folder is not None:
            seen = accelerator.unwrap_model(model) if unwrapped else model
            recording = dh.record(seen, optimizer, to=folder)
        draw = torch.Generator().manual_seed(1)
        for _ in range(6):
            with accelerator.accumulate(model):
                x, y = torch.randn(4, 6, generator=draw), torch.randint(2, (4,), generator=draw)
                loss = torch.nn.functional.cross_entropy(model(x), y)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
        if recording is not None:
            recording.close()
        return copy.deepcopy(accelerator.unwrap_model(model))

    plain, recorded = train(None), train(tmp_path / "run")
    assert_same_weights(plain, recorded)
    run = dh.open_run(tmp_path / "run")
    assert run.steps["n_micro_batches"].tolist() == [2, 2, 2]
    assert {"z", "dz", "g", "dw", "w"} <= {tap.quantity for tap in run.taps()}


def test_steps_that_a_scaler_of_accelerate_skips_are_known(tmp_path):
    def train(folder):
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
        accelerator = accelerate.Accelerator(cpu=True)  # it refuses FP16 there, but takes a scaler
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=4)
        model, optimizer = accelerator.prepare(*model_and_optimizer())
        recording = None if folder is None else dh.record(model, optimizer, to=folder, every=1)
        draw, skipped = torch.Generator().manual_seed(1), []
        for _ in range(9):
            x, y = torch.randn(4, 6, generator=draw), torch.randint(2, (4,), generator=draw)
            with torch.autocast("cpu", torch.float16):
                outputs = model(x)
            accelerator.backward(torch.nn.functional.cross_entropy(outputs.float(), y))
            optimizer.step()
            skipped.append(bool(optimizer.step_was_skipped))
            optimizer.zero_grad()
        if recording is not None:
            recording.close()
        return copy.deepcopy(model), skipped

    (plain, expected), (recorded, skipped) = train(None), train(tmp_path / "run")
    assert_same_weights(plain, recorded)
    assert expected == skipped
    assert set(skipped) == {False, True}
    assert dh.open_run(tmp_path / "run").steps["skipped"].tolist() == skipped


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A session as `import deephochuli.auto` switches it on."""
    monkeypatch.chdir(tmp_path)
    on = start()
    yield on
    on.close()


def test_a_callback_of_the_users_own_comes_before_that_of_a_session(tmp_path, session):
    fit(tmp_path, DeepHochuliCallback(tmp_path / "run", every=1))
    assert len(dh.open_run(tmp_path / "run").steps["step"]) == 12
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_of_a_training_that_was_not_recorded_can_be_resumed(tmp_path, session):
    """And saved from again: the Trainer expects states of the callbacks that it saw then."""
    session.close()
    fit(tmp_path, None, max_steps=4, save_strategy="steps", save_steps=4)
    again = start()
    fit(tmp_path, None, resume=True, save_strategy="steps", save_steps=4)
    again.close()
    (path,) = (tmp_path / "runs").glob("*/*")
    assert dh.open_run(path).steps["step"].tolist() == list(range(4, 12))
    state = json.loads((tmp_path / "checkpoints/checkpoint-12/trainer_state.json").read_text())
    assert state["stateful_callbacks"]["deephochuli"] == {"folder": str(path)}
