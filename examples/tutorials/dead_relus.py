"""Dead ReLUs: by data, by bias, by rounding; when they died, and who could come back.

pip install "deephochuli[demo]"
python dead_relus.py
"""

# %% [markdown]
# # Dead ReLUs
#
# A ReLU unit is dead when none of its pre-activations on the data is positive: it is silent, and
# its weights get no gradient. There are several causes, and each has another remedy. This page
# tells them apart, watches units die, and asks who would live in exact arithmetic.

# %%
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import deephochuli as dh

torch.set_num_threads(1)
digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16
labels = torch.tensor(digits.target)
batches = [(images[:512], labels[:512])]


def build(n_layers=6, width=48):
    torch.manual_seed(0)
    layers = [nn.Linear(64, width), nn.ReLU()]
    for _ in range(n_layers - 2):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


# %% [markdown]
# ## Who is dead, and by what
#
# A learning rate that is too large does this to a network in a few steps.

# %%
model = build()
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
order = torch.Generator().manual_seed(1)
lifelines = dh.Lifelines(model, batches, "fp32")
for step in range(200):
    if step % 20 == 0:
        lifelines.look(step)
    batch = torch.randint(0, 1500, (32,), generator=order)
    optimizer.zero_grad()
    F.cross_entropy(model(images[batch]), labels[batch]).backward()
    optimizer.step()
found = dh.death(model, batches, "fp32")
counts = found.counts()
print(f"{counts['by data']} dead by data, {counts['by bias']} by bias, of {found.n_units}")

# %% [check]
assert counts["by data"] > 0
assert counts["by bias"] > 0
assert counts["by rounding"] == 0

# %% [markdown]
# *By bias* means: without its bias the unit would be alive. The large steps pushed the bias down,
# so a smaller learning rate or a warm-up helps. *By data* means: not even that; its weights point
# away from all the data.
#
# ## When they died
#
# A look copies the model and changes nothing in the training. Between the looks units die, and some
# come back. Who is dead at the first look counts as having died there:

# %%
events = lifelines.lives().events
for step in lifelines.lives().steps:
    here = [event.what for event in events if event.step == step]
    print(f"step {step:3}: {here.count('death'):3} died, {here.count('revival'):3} came back")

# %% [check]
assert any(event.what == "revival" for event in events)

# %% [markdown]
# ## By rounding
#
# So far the arithmetic had no part in it. In a deep network with small activations it has: what is
# below the smallest number of the format becomes zero, and a unit whose every input is zero is
# silent.

# %%
torch.manual_seed(0)
layers = [part for _ in range(20) for part in (nn.Linear(64, 64, bias=False), nn.ReLU())]
deep = nn.Sequential(*layers, nn.Linear(64, 10, bias=False))
by = {name: dh.death(deep, batches, name).counts() for name in ("fp32", "bf16-pure", "fp16-pure")}
for name, each in by.items():
    print(f"{name:9} {each['by data']} by data, {each['by rounding']} by rounding")

# %% [check]
assert by["fp32"]["by rounding"] == 0
assert by["fp16-pure"]["by rounding"] > 10

# %% [markdown]
# {{by["fp16-pure"]["by rounding"]}} units live in exact arithmetic and are dead in FP16; BF16,
# which has the range of FP32, kills {{by["bf16-pure"]["by rounding"]}}. The remedy is a wider
# range there, not another learning rate.

# %% [markdown]
# ## Who could come back
#
# A dead unit has gradient zero in every precision. It comes back only when its inputs drift, as the
# *other* weights are trained. `revival` takes the same steps from the same state in several
# arithmetics, and asks which dead units live afterwards.

# %%
found = dh.revival(
    model,
    [(images[i : i + 64], labels[i : i + 64]) for i in range(0, 512, 64)],
    "bf16-pure",
    optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    loss=F.cross_entropy,
    steps=[60],
    arms=["exact-update"],
)
print(found)

# %% [check]
assert found.n_revived("exact") < len(found.units) / 4

# %% [markdown]
# Of {{len(found.units)}} dead units {{found.n_revived("low")}} live again after 60 steps in BF16,
# and {{found.n_revived("exact")}} in binary64: in this network, most are dead for good whatever
# the arithmetic. Over many networks rounding does make a difference; the
# [findings](../../docs/findings.md) say which, and how sure that is.
#
# ## Next
#
# - Every fate that a unit can have: [dead neurons](../../docs/dead-neurons.md).
# - Which gradient a unit gets exactly at its kink: [the kink at zero](../../docs/kink.md).
