"""A TF32 surprise: the same switch is harmless in one model and ruins another.

pip install "deephochuli[demo]"
python tf32_surprise.py
"""

# %% [markdown]
# # A TF32 surprise
#
# `torch.set_float32_matmul_precision("high")` makes products of FP32 tensors faster on GPUs: their
# operands are rounded to TF32, which has 11 significand bits instead of 24.
# Mostly nobody notices. This page shows a model in which nobody notices, until one day the data
# come in another unit. TF32 is emulated here, so it runs on a CPU.

# %% [markdown]
# ## A model of distances
#
# The nearest of 1500 known digits decides what a new one is. Distances are computed as everybody
# does, by one large product: $-|x - p|^2 = 2 x \cdot p - |p|^2 - |x|^2$.

# %%
import torch
from sklearn.datasets import load_digits
from torch import nn

import deephochuli as dh

torch.set_num_threads(1)
digits = load_digits()
images = torch.tensor(digits.data / 17, dtype=torch.float32)
labels = torch.tensor(digits.target)


class Nearest(nn.Module):
    def __init__(self, points):
        super().__init__()
        self.products = nn.Linear(points.shape[1], len(points), bias=False)
        self.products.weight = nn.Parameter(points.clone())
        self.register_buffer("squares", (points**2).sum(1))

    def forward(self, x):
        return 2 * self.products(x) - self.squares - (x**2).sum(1, keepdim=True)


def accuracy(data, arithmetic):
    model = Nearest(data[:1500])
    with torch.no_grad(), dh.run_as(model, arithmetic):
        nearest = model(data[1500:]).argmax(1)
    return (labels[:1500][nearest] == labels[1500:]).float().mean().item()


plain = {name: accuracy(images, name) for name in ("fp32", "tf32")}
print({name: f"{share:.1%}" for name, share in plain.items()})

# %% [check]
assert plain["tf32"] == plain["fp32"]

# %% [markdown]
# {{plain["fp32"]:.1%}} either way. TF32 passes the test.

# %% [markdown]
# ## The same images, with an offset
#
# Now each pixel has a dark level of 30 added to it, as a camera may do. Distances do not change
# at all: the offset cancels in $x - p$.

# %%
offset = {name: accuracy(images + 30, name) for name in ("fp64", "fp32", "tf32")}
print({name: f"{share:.1%}" for name, share in offset.items()})

# %% [check]
assert offset["fp32"] == offset["fp64"]
assert offset["tf32"] < offset["fp32"] - 0.1

# %% [markdown]
# With TF32 {{offset["tf32"]:.1%}} are left of {{offset["fp32"]:.1%}}. No layer was changed, and
# none overflowed.

# %% [markdown]
# ## Where it happens
#
# `compare` executes the model in each arithmetic beside FP64. A layer's *own* error is what it
# adds to exactly the numbers that it was given; the *total* is the distance from FP64.

# %%
model, batch = Nearest(images[:1500] + 30), images[1500:1564] + 30
comparison = dh.compare(model, batch, ["fp32", "tf32"])
for name in ("fp32", "tf32"):
    for row in comparison.of(name, "forward"):
        print(f"{name} {row.layer:9} own {row.local.rel_l2:.1e}  total {row.total.rel_l2:.1e}")
for name, decisions in comparison.decisions.items():
    print(f"{name}: {decisions.argmax_flips} of {decisions.n} decisions are others")

# %% [check]
rows = {row.layer: row for row in comparison.of("tf32", "forward")}
product, whole = rows["products"], rows["(model)"]
assert product.total.rel_l2 < 1e-4 < 1000 * product.total.rel_l2 < whole.total.rel_l2
assert comparison.decisions["tf32"].argmax_flips > comparison.decisions["fp32"].argmax_flips

# %% [markdown]
# The product errs by {{product.total.rel_l2:.1e}}, which is what TF32 promises. Then the squares
# are subtracted, and what is left is small beside them, so that the same absolute error is a
# relative one of {{whole.total.rel_l2:.0%}}:

# %%
squares = (batch**2).sum(1).mean().item()
distance = -Nearest(images[:1500])(images[1500:1564]).mean().item()
print(f"squares {squares:.0f}, squared distances {distance:.0f}")

# %% [check]
assert distance < squares / 100

# %% [markdown]
# That is *cancellation*: it makes no error, it exposes one.

# %% [markdown]
# ## Rounding, or a bug?
#
# Somebody who sees only wrong answers may look for a bug for days. `verdict` names the first layer
# that errs more than sound executions do, and whether a known rounding explains it.

# %%
print(dh.verdict(model, batch, "tf32"))

# %% [check]
assert dh.verdict(model, batch, "tf32").kind == "rounding"

# %% [markdown]
# ## The remedy
#
# Either this product stays in FP32, or the offset leaves before it is squared:

# %%
mean = (images[:1500] + 30).mean(0)
centred = accuracy(images + 30 - mean, "tf32")
print(f"{centred:.1%} with TF32")

# %% [check]
assert abs(centred - offset["fp64"]) < 0.01

# %% [markdown]
# {{centred:.1%}} with TF32 on centred data. A test on one data set said nothing about the other.
#
# ## Next
#
# - What is compared, and what a verdict says: [comparing executions](../../docs/compare.md).
# - What TF32 costs by depth and width: [TF32 beside FP32](../../docs/tf32.md).
# - What your machine really does when you set a switch: [the doctor](../../docs/doctor.md).
