"""FP16 and the loss scale: which gradients are lost, and which scale saves them.

pip install "deephochuli[demo]"
python fp16_loss_scale.py
"""

# %% [markdown]
# # FP16 and the loss scale
#
# The smallest positive number of FP16 is $2^{-24}$, about 6e-8. Gradients of deep networks are
# often smaller, and then they are zero: not small, but gone. This page finds out which ones,
# chooses a loss scale by measurement instead of by habit, and trains with and without it.

# %% [markdown]
# ## A deep network
#
# Eighteen layers with torch's default initialisation, which shrinks gradients from layer to layer.

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


def build(n_layers=18, width=32):
    torch.manual_seed(0)
    layers = [nn.Linear(64, width), nn.ReLU()]
    for _ in range(n_layers - 2):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


# %% [markdown]
# ## Which gradients are lost
#
# `backward` runs forward and backward as in FP16 and once more exactly, from the same state. An
# element is *lost* when it is zero in FP16 and not zero in exact arithmetic.

# %%
model, batch = build(), images[:64]
found = dh.backward(model, batch, ["fp16"], loss=lambda out: F.cross_entropy(out, labels[:64]))
for row in found.of("fp16", tensor="weight"):
    print(f"layer {row.layer:>2}: rms {row.exact.rms:.1e}, lost {row.fate.vanished_share:.1%}")

# %% [check]
first, *_, last = found.of("fp16", tensor="weight")
assert first.fate.vanished_share > 0.5 > 0.01 > last.fate.vanished_share

# %% [markdown]
# The last layers are fine, and the first ones get next to nothing:
# {{first.fate.vanished_share:.1%}} of the first layer's weight gradients are zero that should not
# be.

# %% [markdown]
# ## Which scale
#
# A loss scale lifts all gradients by the same factor. It must be large enough for the smallest and
# small enough for the largest:

# %%
scale = found.scales["fp16"]
print(f"at least {scale.lowest:g}, which {scale.demanding} asks for")
print(f"at most  {scale.highest:g}, which {scale.limiting} allows")
print(f"advised  {scale.advised:g}")

# %% [check]
assert scale.fits
assert 1 < scale.lowest < scale.advised < scale.highest

# %% [markdown]
# The advised scale leaves room for gradients that grow. Does it help? The same question with it:

# %%
scaled = dh.backward(
    model, batch, ["fp16"], loss=lambda out: F.cross_entropy(out, labels[:64]), scale=scale.advised
)
worst = max(row.fate.vanished_share for row in scaled.of("fp16", tensor="weight"))
print(f"lost at most {worst:.1%} of any weight gradient")

# %% [check]
assert worst < first.fate.vanished_share / 5

# %% [markdown]
# ## Training with it and without it
#
# Weights stay in FP32; products, activations and their gradients are FP16 by autocast.
# `GradScaler` multiplies the loss, divides the gradients, and adapts the factor.


# %%
def train(scaling, folder, steps=800):
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale.advised, enabled=scaling)
    order = torch.Generator().manual_seed(1)
    with dh.record(model, optimizer, to=folder, every=40) as recording:
        for _ in range(steps):
            rows = torch.randint(0, 1500, (32,), generator=order)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.float16):
                out = model(images[rows])
            loss = F.cross_entropy(out.float(), labels[rows])
            recording.log(loss=loss)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    with torch.no_grad():
        right = model(images[1500:]).argmax(1) == labels[1500:]
    return right.float().mean().item()


import shutil

shutil.rmtree("fp16", ignore_errors=True)
without = train(False, "fp16/unscaled")
with_scale = train(True, "fp16/scaled")
print(f"without {without:.1%}, with a loss scale {with_scale:.1%}")
worst_finding = dh.findings(dh.open_run("fp16/unscaled"))[0]
print(worst_finding.level, "-", worst_finding.title)

# %% [check]
assert with_scale > without + 0.2
assert worst_finding.kind == "gradient-underflow"

# %% [markdown]
# {{without:.1%}} became {{with_scale:.1%}}. The recording of the first training names the cause
# by itself.
#
# ## Next
#
# - What is lost where, and what it means for the step: [the backward pass](../../docs/backward.md).
# - BF16 needs no loss scale, since its range is that of FP32. It has another problem:
#   [BF16 that does not learn](../../docs/tutorials/bf16-that-does-not-learn.md).
