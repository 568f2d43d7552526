"""Public-style training scripts of examples/integrations, with and without the lines for us."""

import runpy
from pathlib import Path

import torch

FOLDER = Path(__file__).parents[3] / "examples" / "integrations"
MARK = "# DeepHochuli"


def run_script(name, folder, *, is_recorded):
    """Run one script, perhaps without the marked lines; the model that it trained."""
    lines = (FOLDER / f"{name}.py").read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if is_recorded or not line.rstrip().endswith(MARK)]
    if not is_recorded:
        assert "hochuli" not in "".join(kept).lower()
    script = folder / f"{name}.py"
    folder.mkdir()
    script.write_text("".join(kept), "utf-8")
    return runpy.run_path(str(script))["main"](folder)


def assert_same_weights(one, other):
    """Compare two models bit for bit."""
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    for (name, a), (_, b) in pairs:
        assert torch.equal(a, b), name


def assert_neutral(name, tmp_path):
    """Run a script both ways; the folder of the recorded one."""
    plain = run_script(name, tmp_path / "plain", is_recorded=False)
    recorded = run_script(name, tmp_path / "recorded", is_recorded=True)
    assert_same_weights(plain, recorded)
    return tmp_path / "recorded"
