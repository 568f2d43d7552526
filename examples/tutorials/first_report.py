"""First report in five minutes: train, record, read, repair, compare.

    pip install "deephochuli[demo]"
    python first_report.py

Everything is written into the folder first-report, below the folder in which you are.
"""

# %% [markdown]
# # First report in five minutes
#
# You train a small network on handwritten digits twice, and let DeepHochuli say what the arithmetic
# did to it.
# You need `pip install "deephochuli[demo]"`, a CPU, and no download: the digits come with
# scikit-learn.

# %% [markdown]
# ## A training that looks harmless
#
# Weights, gradients and optimizer are in BF16, because that is fast and small.

# %%
import shutil

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import deephochuli as dh

torch.set_num_threads(1)
digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16
labels = torch.tensor(digits.target)


def build(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    return model.to(dtype)


def train(model, optimizer, recording, dtype, steps=2000):
    order = torch.Generator().manual_seed(1)
    for _ in range(steps):
        batch = torch.randint(0, 1500, (32,), generator=order)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[batch].to(dtype)).float(), labels[batch])
        recording.log(loss=loss)
        loss.backward()
        optimizer.step()


def accuracy(model, dtype):
    with torch.no_grad():
        right = model(images[1500:].to(dtype)).argmax(1) == labels[1500:]
    return right.float().mean().item()


# %% [markdown]
# ## Record it
#
# One `with` around the loop is all there is to it. The training stays the same to the last bit.

# %%
shutil.rmtree("first-report", ignore_errors=True)

model = build(torch.bfloat16)
optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
with dh.record(model, optimizer, to="first-report/bf16", every=20) as recording:
    train(model, optimizer, recording, torch.bfloat16)
bf16_accuracy = accuracy(model, torch.bfloat16)
print(f"{bf16_accuracy:.1%} of the digits that were kept aside are read correctly")

# %% [markdown]
# ## Ask what happened
#
# Findings are sorted by harm, and say where, how much, and what to change.

# %%
run = dh.open_run("first-report/bf16")
worst, *others = dh.findings(run)
print(worst.level, "-", worst.title)
print(worst.advice)

# %% [check]
assert worst.kind == "swamped-updates"
assert worst.level == "critical"

# %% [markdown]
# BF16 has 8 significand bits. An update of less than a 512th of its weight always rounds away: the
# weight keeps every one of its bits, step after step, although its gradient is not zero.
# In `{{worst.layer}}` that is what happened most.
#
# The same in the terminal is `deephochuli report first-report/bf16`.

# %% [markdown]
# ## Repair it
#
# The advice names FP32 weights. The simplest way to them: the same training, all in FP32.

# %%
model = build(torch.float32)
optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
with dh.record(model, optimizer, to="first-report/fp32", every=20) as recording:
    train(model, optimizer, recording, torch.float32)
fp32_accuracy = accuracy(model, torch.float32)
print(f"{fp32_accuracy:.1%} now")
repaired = dh.findings(dh.open_run("first-report/fp32"))
print([finding.title for finding in repaired if finding.level == "critical"])

# %% [check]
assert fp32_accuracy > bf16_accuracy
assert not [finding for finding in repaired if finding.level == "critical"]

# %% [markdown]
# {{bf16_accuracy:.1%}} became {{fp32_accuracy:.1%}}, and no critical finding is left.

# %% [markdown]
# ## The report
#
# One HTML file holds both runs. It opens from disk, without a network; choose a layer, a step, and
# any number format, and see what that format would have done.

# %%
dh.report(["first-report/bf16", "first-report/fp32"], "first-report/report.html")

# %% [markdown]
# <!-- page: first-report/report.html -->
#
# ## Next
#
# - Your own script, unchanged: [run a script](../../docs/run-a-script.md).
# - Why BF16 did not learn, and four ways out:
#   [BF16 that does not learn](../../docs/tutorials/bf16-that-does-not-learn.md).
