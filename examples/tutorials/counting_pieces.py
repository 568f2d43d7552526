"""Counting pieces: how many affine maps a network is made of, exactly.

pip install "deephochuli[demo]"
python counting_pieces.py
"""

# %% [markdown]
# # Counting pieces
#
# A ReLU network is a piecewise affine function. How many pieces it has between two inputs says
# how much it bends there, and it can be counted: not sampled, counted. This page counts them
# along a line and on a plane, before and after a training.

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

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
zero, one = images[labels == 0][0], images[labels == 1][0]

# %% [markdown]
# ## Along a line
#
# From a zero to a one. Every place where a unit crosses its kink is found, with its layer and unit.

# %%
before = dh.pieces.count(model, zero, one)
print(before)

# %% [markdown]
# A *region* is an interval on which no unit changes its side; a *piece* is an interval on which the
# output is affine. Pieces are unions of regions: some bends reach no output.
# Both counts are intervals, which no rounding error can leave. When the ends of an interval differ,
# `exact=True` decides the open places in rational arithmetic:

# %%
exact = dh.pieces.count(model, zero, one, exact=True)
print(exact.regions, exact.pieces)

# %% [check]
assert before.regions.low <= exact.regions.low == exact.regions.high <= before.regions.high
assert before.pieces.low <= exact.pieces.low == exact.pieces.high <= before.pieces.high

# %% [markdown]
# {{exact.pieces.low}} pieces of {{exact.regions.low}} regions. Sampling never knows whether it
# has seen them all, because a region may be thinner than any step:

# %%
for n in (100, 10_000):
    t = torch.linspace(0, 1, n)[:, None]
    points = zero + t * (one - zero)
    hidden = model[1](model[0](points))
    pattern = torch.cat([hidden > 0, model[3](model[2](hidden)) > 0], 1)
    seen = 1 + int((pattern[1:] != pattern[:-1]).any(1).sum())
    print(f"{n:6} samples see {seen} regions")

# %% [check]
assert seen <= exact.regions.low

# %% [markdown]
# ## After a training

# %%
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
order = torch.Generator().manual_seed(1)
for _ in range(400):
    batch = torch.randint(0, 1500, (64,), generator=order)
    optimizer.zero_grad()
    F.cross_entropy(model(images[batch]), labels[batch]).backward()
    optimizer.step()
after = dh.pieces.count(model, zero, one)
print(after)

# %% [markdown]
# {{before.n_pieces}} pieces became {{after.n_pieces}}. Where they are, and what the outputs do
# between:

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 3.5))
places = torch.linspace(0, 1, 400)
with torch.no_grad():
    outputs = model(zero + places[:, None] * (one - zero)).softmax(1)
for digit in (0, 1):
    axes.plot(places, outputs[:, digit], label=f"probability of {digit}")
axes.plot(after.t, [0.5] * len(after.t), "|", color="black", markersize=12, label="a bend")
axes.set(xlabel="from a zero to a one")
axes.legend()
plt.show()

# %% [markdown]
# ## On a plane
#
# Three images span a plane. Each region is a convex polygon with an area, and with its affine map.

# %%
plane = dh.pieces.plane(model, zero, one, images[labels == 2][0])
print(plane)

# %%
from matplotlib.collections import PolyCollection

figure, axes = plt.subplots(figsize=(6, 6))
polygons = [plane.polygon(index) for index in range(plane.n_regions)]
colours = torch.rand(len(polygons), 3, generator=torch.Generator().manual_seed(0)).numpy()
axes.add_collection(
    PolyCollection(polygons, facecolors=colours, edgecolors="white", linewidths=0.3)
)
axes.set(xlabel="towards a one", ylabel="towards a two", aspect="equal")
plt.show()

# %% [markdown]
# {{plane.n_regions}} regions, of which the largest has {{max(plane.areas) / plane.area:.1%}} of the
# area. `n_close` = {{plane.n_close}} decisions were closer than the rounding errors may be.
#
# ## Next
#
# - What exactly is counted, and how sure it is: [affine pieces](../../docs/pieces.md).
# - What noisy gradient descent does to pieces, and what a theorem says:
#   [affine pieces under noise](../../docs/affine-pieces-under-noise.md).
