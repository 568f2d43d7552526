"""BF16 that does not learn: why, as numbers, and four ways out.

pip install "deephochuli[demo]"
python bf16_that_does_not_learn.py
"""

# %% [markdown]
# # BF16 that does not learn
#
# A training in pure BF16 stands still, and nothing complains: no NaN, no overflow, gradients look
# healthy. This page shows what happens in it, and measures four ways out.
# You need `pip install "deephochuli[demo]"` and a CPU.

# %% [markdown]
# ## The rule
#
# BF16 has 8 significand bits. Between two neighbouring numbers lies one ulp, and a sum is rounded
# to the nearer one. So a weight that receives less than half an ulp stays where it is.

# %%
import torch

import deephochuli as dh

torch.set_num_threads(1)
weight = torch.tensor(0.1, dtype=torch.bfloat16)
for update in (1e-3, 3e-4, 1e-4, 1e-5):
    moved = weight - torch.tensor(update, dtype=torch.bfloat16)
    print(f"{weight.item():.6f} - {update:.0e} = {moved.item():.6f}")

# %% [check]
assert weight - torch.tensor(1e-4, dtype=torch.bfloat16) == weight
assert weight - torch.tensor(1e-3, dtype=torch.bfloat16) != weight

# %% [markdown]
# That is *swamping* of the update: a sum that equals its larger addend, although the other one is
# not zero. With FP32 the limit lies 2^16 times lower.

# %% [markdown]
# ## The training
#
# SGD with momentum, written out, so that the last line can be varied: how the new weight is stored.

# %%
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16
labels = torch.tensor(digits.target)


class Descent(torch.optim.Optimizer):
    """SGD with momentum in FP32, and weights stored as `store` says."""

    def __init__(self, parameters, store, lr=0.001):
        super().__init__(parameters, {"lr": lr})
        self.store, self.steps = store, 0

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for index, w in enumerate(group["params"]):
                state = self.state[w]
                v = state.setdefault("velocity", torch.zeros_like(w, dtype=torch.float32))
                v.mul_(0.9).add_(w.grad)
                w.copy_(self.store(w, -group["lr"] * v, state, (index, self.steps)))
        self.steps += 1


def nearest(w, update, state, place):
    return w.float() + update  # copying it into the weight rounds it


def train(dtype, store, lr=0.001, folder=None, steps=1200):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    ).to(dtype)
    optimizer = Descent(model.parameters(), store, lr)
    order = torch.Generator().manual_seed(1)
    losses = []

    def loop():
        for _ in range(steps):
            batch = torch.randint(0, 1500, (32,), generator=order)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(images[batch].to(dtype)).float(), labels[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    if folder is None:
        loop()
    else:
        with dh.record(model, optimizer, to=folder, every=50):
            loop()
    with torch.no_grad():
        right = model(images[1500:].to(dtype)).argmax(1) == labels[1500:]
    return right.float().mean().item(), losses


# %% [markdown]
# ## What is recorded
#
# `dw` is the update that was *really* added: DeepHochuli reads the weights before and after the
# optimizer's step. An element is *unmoved* when its gradient is not zero and none of its bits
# changed.

# %%
import shutil

shutil.rmtree("bf16", ignore_errors=True)
results = {"BF16, nearest": train(torch.bfloat16, nearest, folder="bf16/nearest")}


def unmoved(folder, layer="0.weight"):
    counts = dh.open_run(folder).scalars(layer, "dw")
    return counts["n_unmoved"] / counts["n_updatable"]


shares = unmoved("bf16/nearest")
print(f"unmoved in the first recorded step: {shares[0]:.1%}, in the last: {shares[-1]:.1%}")

# %% [check]
assert min(shares) > 0.5

# %% [markdown]
# In the last recorded step {{shares[-1]:.1%}} of the weights that had a gradient kept all their
# bits. A loss curve shows a plateau; only the bits show why.

# %% [markdown]
# ## Four ways out
#
# - **FP32 weights**: keep them wide, compute in BF16 by autocast. Costs memory.
# - **Stochastic rounding**: round up or down at random, so that the mean is exact. What is too
#   small to move a weight in one step moves it in one of many.
# - **Kahan summation**: keep what rounding took in a second BF16 number, and add it next time.
# - **A larger learning rate**, if the training bears it: updates get above half an ulp.


# %%
def stochastic(w, update, state, place):
    key = dh.StochasticKey(seed=0, stream=place[0], step=place[1])
    return dh.round_to(w.float() + update, "bf16", rounding="stochastic", key=key)


def kahan(w, update, state, place):
    wanted = update + state.get("lost", torch.zeros_like(update))
    stored = (w.float() + wanted).to(torch.bfloat16).float()
    state["lost"] = (wanted - (stored - w.float())).to(torch.bfloat16)
    return stored


results["FP32 weights"] = train(torch.float32, nearest)
results["BF16, stochastic"] = train(torch.bfloat16, stochastic)
results["BF16, Kahan"] = train(torch.bfloat16, kahan)
results["BF16, nearest, lr x 30"] = train(torch.bfloat16, nearest, lr=0.03)
for name, (accuracy, losses) in results.items():
    print(f"{name:24} accuracy {accuracy:.1%}, mean loss at the end {sum(losses[-100:]) / 100:.3f}")

# %% [check]
score = {name: accuracy for name, (accuracy, _) in results.items()}
lost = score.pop("BF16, nearest")
assert all(accuracy > lost + 0.3 for accuracy in score.values())

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 3.5))
for name, (_, losses) in results.items():
    axes.plot(torch.tensor(losses).unfold(0, 50, 10).mean(1), label=name)
axes.set(xlabel="step / 10", ylabel="loss, mean of 50 steps")
axes.legend()
plt.show()

# %% [markdown]
# The same network, data and order of batches: {{lost:.1%}} of the digits are read with weights that
# are stored in BF16 by nearest, {{results["BF16, stochastic"][0]:.1%}} with stochastic rounding in
# the same 16 bits, and {{results["FP32 weights"][0]:.1%}} with FP32 weights.
#
# ## Next
#
# - What absorbs addends *inside* sums: [swamping](../../docs/swamping.md).
# - How wide a format each tensor wants: `deephochuli fit bf16/nearest`.
# - What was found about updates, with intervals: [findings](../../docs/findings.md).
