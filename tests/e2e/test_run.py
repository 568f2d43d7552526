"""``deephochuli run`` beside ``python``: the same output, the same end, and a record besides."""

import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from deephochuli.store import open_run

SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The digits of scikit-learn as a file, so that the scripts need not import it."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, x=(digits.data / 16).astype(np.float32), y=digits.target)
    return str(path)


def start(command, cwd, text=""):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        command, cwd=cwd, input=text, capture_output=True, text=True, env=environment, timeout=600
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def both(tmp_path, *words, options=(), text=""):
    """Run a script by Python and by us at the same time; they must tell the same story."""
    ours = [sys.executable, "-m", "deephochuli", "run", "--to", str(tmp_path / "runs"), *options]
    with ThreadPoolExecutor(2) as pool:
        plain = pool.submit(start, [sys.executable, *words], SCRIPTS, text)
        recorded = pool.submit(start, [*ours, *words], SCRIPTS, text)
    plain, recorded = plain.result(), recorded.result()
    assert recorded.out == plain.out
    assert recorded.code == plain.code
    assert own_words(recorded.err) == plain.err
    return recorded


def own_words(err):
    """What a script wrote to standard error, without the closing lines of the recording."""
    closing = r"^deephochuli: recorded(?:.|\n)*?^Next: .*\n|^deephochuli: Nothing was.*\n"
    return re.sub(closing, "", err, flags=re.MULTILINE)


def runs_in(tmp_path):
    return {path.name: open_run(path) for path in sorted((tmp_path / "runs").iterdir())}


def losses(ended):
    return [line for line in ended.out.splitlines() if "0x" in line]


# ---- what is recorded


def check_crash(run):
    assert run.finished
    assert run.manifest.raised == "ValueError: the data is of the wrong shape"
    assert run.manifest.model.class_name == "Net"
    assert run.steps["step"].tolist() == list(range(20))
    assert run.scalars("relu", "z")["n"].tolist() == [64 * 32] * 20


def check_gan(critic, generator):
    assert critic.steps["step"].tolist()[:30] == generator.steps["step"].tolist() == [*range(30)]
    assert critic.steps["n_micro_batches"][1:30].tolist() == [3] * 29
    assert generator.scalars("layers.1", "z")["n"].tolist() == [32 * 64] * 30


def check_workers(run):
    assert run.steps["step"].tolist() == [*range(58)]
    assert run.manifest.model.n_parameters == 2410
    assert run.scalars("1", "z")["n"].tolist() == ([64 * 32] * 28 + [5 * 32]) * 2


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_several_models_workers_and_a_crash(tmp_path, data):
    ended = both(tmp_path, "medley.py", data)
    assert ended.code == 1
    assert "mat1 and mat2 shapes" in ended.err
    assert "ValueError: the data is of the wrong shape" in ended.err
    assert len(losses(ended)) == 30 + 58 + 20
    runs = runs_in(tmp_path)
    assert set(runs) == {"Critic", "Generator", "Sequential", "Net"}  # no copy, no worker
    check_gan(runs["Critic"], runs["Generator"])
    check_workers(runs["Sequential"])
    check_crash(runs["Net"])
    assert f"deephochuli: recorded 4 models in {tmp_path / 'runs'}" in ended.err.splitlines()
    assert ended.err.splitlines()[-1] == f"Next: deephochuli report {tmp_path / 'runs'}"


@pytest.mark.slow
def test_a_plain_loop(tmp_path, data):
    words = ["plain_loop.py", data, "--lr", "0.05", "--steps", "40"]
    ended = both(tmp_path, *words, options=("--every", "1"))
    assert len(losses(ended)) == 40
    run = runs_in(tmp_path)["Sequential"]
    assert run.steps["step"].tolist() == list(range(40))
    assert run.finished
    assert {("1", "z"), ("1", "dz"), ("0.weight", "w"), ("0.weight", "g"), ("3.bias", "dw")} <= {
        (tap.layer, tap.quantity) for tap in run.taps()
    }
    assert run.scalars("1", "z")["n"].tolist() == [64 * 32] * 40  # the first step as well
    assert run.manifest.command == words
    assert run.manifest.extra["script"] == "plain_loop.py"
    assert "Sequential  40 steps, 40 recorded" in ended.err


@pytest.mark.slow
def test_a_crash_leaves_traceback_exit_code_and_a_readable_run(tmp_path, data):
    both(tmp_path, "crash.py", data)
    check_crash(runs_in(tmp_path)["Net"])


@pytest.mark.slow
def test_two_models_with_an_optimizer_each(tmp_path, data):
    both(tmp_path, "gan.py", data)
    runs = runs_in(tmp_path)
    check_gan(runs["Critic"], runs["Generator"])


@pytest.mark.slow
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_workers_of_a_data_loader(tmp_path, data, start_method):
    both(tmp_path, "workers.py", data, start_method)
    check_workers(runs_in(tmp_path)["Sequential"])


@pytest.mark.slow
def test_a_model_for_each_fold_and_one_in_memory(tmp_path, data):
    ended = both(tmp_path, "folds.py", data)
    assert ended.out.count("models alive: 1") == 3
    runs = runs_in(tmp_path)
    assert list(runs) == ["Net", "Net-2", "Net-3"]
    assert [len(run.steps["step"]) for run in runs.values()] == [13, 13, 14]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["new", "in-place"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_a_compiled_model(tmp_path, data, way, backend):
    if backend == "inductor":
        from torch._inductor.cpp_builder import get_cpp_compiler

        try:
            get_cpp_compiler()
        except Exception as error:
            pytest.skip(f"no C++ compiler: {error}")
    ours = [sys.executable, "-m", "deephochuli", "run", "--to", str(tmp_path / "runs")]
    words = ["compiled.py", data, way, backend]
    plain = start([sys.executable, *words], SCRIPTS)
    recorded = start([*ours, *words], SCRIPTS)
    assert (recorded.code, recorded.out) == (plain.code, plain.out) == (0, plain.out)
    run = runs_in(tmp_path)["Sequential"]
    assert run.steps["step"].tolist() == list(range(40))
    assert run.scalars("0.weight", "dw")["n"].tolist() == [2048] * 40


@pytest.mark.slow
def test_the_trainer_of_hugging_face(tmp_path, data):
    pytest.importorskip("accelerate")
    ours = [sys.executable, "-m", "deephochuli", "run", "--to", str(tmp_path / "runs")]
    words = ["trainer.py", data, str(tmp_path / "output")]
    plain = start([sys.executable, *words], SCRIPTS)
    recorded = start([*ours, *words], SCRIPTS)
    assert losses(plain)
    assert losses(recorded) == losses(plain)
    assert recorded.code == plain.code == 0
    run = runs_in(tmp_path)["GPT2ForSequenceClassification"]
    assert run.steps["step"].tolist() == list(range(24))
    assert set(run.steps["n_micro_batches"].tolist()) == {2}
    assert run.scalars("transformer.h.0.mlp.act", "z")["n"].tolist() == [2 * 16 * 64 * 128] * 24


# ---- how a script sees itself, and how it ends; no torch, so quick


def test_a_script_sees_what_it_sees_under_python(tmp_path):
    ended = both(tmp_path, "./identity.py", "-h", "--to", "--", "-m", "x")
    assert "['./identity.py', '-h', '--to', '--', '-m', 'x']" in ended.out
    assert "Nothing was recorded" in ended.err
    assert not (tmp_path / "runs").exists()


def test_a_module_sees_what_it_sees_under_python(tmp_path):
    ended = both(tmp_path, "-m", "identity", "--lr", "1")
    assert "('identity', " in ended.out


QUICK = ["return", "exit-3", "exit-text", "chained", "hook", "interrupt", "terminate", "_exit"]
OTHERS = [
    "exit-none",
    "raise",
    "group",
    "thread-exit",
    "thread-raise",
    "pool",
    "handled",
    "stdin",
    "fork",
]
WAYS = [*QUICK, *(way for way in OTHERS if way != "fork" or hasattr(os, "fork"))]
CODES = {
    "return": 0, "exit-3": 3, "exit-text": 1, "raise": 1, "_exit": 7, "interrupt": -signal.SIGINT,
    "terminate": -signal.SIGTERM, "handled": 9,
}  # fmt: skip


@pytest.mark.parametrize(
    "way", [way if way in QUICK else pytest.param(way, marks=pytest.mark.slow) for way in WAYS]
)
def test_every_end_is_the_end_under_python(tmp_path, way):
    ended = both(tmp_path, "endings.py", way, text="some input")
    assert ended.code == CODES.get(way, ended.code)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_every_end_of_a_training_leaves_a_readable_run(tmp_path, way):
    ended = both(tmp_path, "endings.py", way, "40")
    run = runs_in(tmp_path)["Linear"]
    ends_at_once = way in ("_exit", "terminate")
    assert run.finished is not ends_at_once
    assert ends_at_once or ended.err.count("Next: deephochuli report") == 1
    # Only the open chunk is lost: 16 steps, or fewer.
    assert len(run.steps["step"]) >= (32 if ends_at_once else 40)


@pytest.mark.slow
def test_a_package_that_trains(tmp_path):
    both(tmp_path, "-m", "digits", "5")
    run = runs_in(tmp_path)["Linear"]
    assert len(run.steps["step"]) == 5
    assert run.manifest.extra["module"] == "digits"


# ---- the command itself


def run_ours(tmp_path, *words):
    return start([sys.executable, "-m", "deephochuli", "run", *words], tmp_path)


def test_a_missing_module_ends_as_under_python(tmp_path):
    ended = run_ours(tmp_path, "--quiet", "-m", "no_such_module")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"{sys.executable}: No module named no_such_module\n"


@pytest.mark.slow
def test_torch_is_imported_by_the_script_alone(tmp_path):
    """The script may set the environment that torch reads when it is imported."""
    (tmp_path / "x.py").write_text(
        "import os, sys\n"
        "assert not {'torch', 'numpy', 'numba', 'pyarrow'} & set(sys.modules)\n"
        "os.environ['OMP_NUM_THREADS'] = '2'\n"
        "import torch\n"
        "print(torch.get_num_threads(), torch.__spec__.loader is torch.__loader__)\n"
        "print(type(torch.__loader__).__name__)\n"
    )
    plain = start([sys.executable, "x.py"], tmp_path)
    recorded = run_ours(tmp_path, "x.py")
    assert recorded.out == plain.out
    assert recorded.out.endswith("True\nSourceFileLoader\n")
    assert "made no optimizer" in recorded.err


@pytest.mark.slow
def test_findings_decide_the_exit_code_only_when_asked_and_only_of_a_good_end(tmp_path):
    (tmp_path / "x.py").write_text(
        "import sys, torch\n"
        "model = torch.nn.Linear(8, 8).to(torch.bfloat16)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)\n"
        "for _ in range(20):\n"
        "    model(torch.ones(4, 8, dtype=torch.bfloat16)).sum().backward()\n"
        "    optimizer.step()\n"
        "sys.exit(int(sys.argv[1]))\n"
    )
    assert run_ours(tmp_path, "x.py", "0").code == 0
    assert run_ours(tmp_path, "--fail-on", "warning", "x.py", "0").code == 1
    assert run_ours(tmp_path, "--fail-on", "warning", "x.py", "4").code == 4
    quiet = run_ours(tmp_path, "--quiet", "--fail-on", "warning", "x.py", "0")
    assert (quiet.code, quiet.out, quiet.err) == (1, "", "")
    for folder in (tmp_path / "runs").iterdir():
        command = [sys.executable, "-m", "deephochuli", "report", "--json", str(folder)]
        found = json.loads(start(command, tmp_path).out)["runs"][0]["findings"]
        assert "swamped-updates" in {finding["kind"] for finding in found}
