"""What a reader has when a page shows code: a model, data, a script, recorded runs.

The documentation says `model`, `batch`, `train.py:build` or `runs/resnet` and means the reader's
own. Here they are something small.
"""

import contextlib
import copy
import os
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

import deephochuli as dh
from deephochuli.cli import main

BUILD = """
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU())
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.blocks(x))


def build():
    torch.manual_seed(0)
    model = Net()
    batch = torch.rand(16, 64, generator=torch.Generator().manual_seed(1))
    target = torch.arange(16) % 10
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return {
        "model": model,
        "batch": batch,
        "loss": lambda out: F.cross_entropy(out, target),
        "optimizer": optimizer,
    }
"""
TRAIN = (
    BUILD
    + """

def train():
    task = build()
    for _ in range(12):
        task["optimizer"].zero_grad()
        task["loss"](task["model"](task["batch"])).backward()
        task["optimizer"].step()


if __name__ == "__main__":
    train()
"""
)


class Net(nn.Module):
    """Layers whose names occur in the documentation."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU())
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(x))


def make_folder(folder: Path) -> None:
    """Fill a folder with the scripts, arrays and runs that commands name."""
    for name in ("mymodels.py", "net.py", "port.py"):
        (folder / name).write_text(BUILD)
    (folder / "train.py").write_text(TRAIN)
    names = names_of()
    np.save(folder / "a.npy", names["x0"].numpy())
    np.save(folder / "b.npy", names["x1"].numpy())
    first = folder / "runs" / "resnet"
    with dh.record(names["model"], names["optimizer"], to=first, every=2):
        names["train"]()
    for name in ("a", "fp32", "bf16"):
        shutil.copytree(first, folder / "runs" / name)
    for name, net in renamed().items():
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        with dh.record(net, optimizer, to=folder / "runs" / name):
            F.cross_entropy(net(names["batch"]), names["labels"]).backward()
            optimizer.step()
    (folder / "checkpoint").mkdir()
    save_file(names["model"].state_dict(), folder / "checkpoint" / "model.safetensors")
    with contextlib.chdir(folder):
        main(["compare", "train.py:build", "--save", "here"], exits=False)
    shutil.copytree(folder / "here", folder / "there")


def renamed() -> dict[str, nn.Module]:
    """One network under three sets of names: as it is, wrapped, and with a part that has moved."""
    torch.manual_seed(0)
    encoder, head = nn.Linear(64, 8), nn.Linear(8, 10)
    plain = nn.Sequential(OrderedDict(encoder=encoder, relu=nn.ReLU(), head=head))
    wrapped = nn.Sequential(OrderedDict(module=copy.deepcopy(plain)))
    moved = nn.Sequential(OrderedDict(encoder=copy.deepcopy(encoder)))
    new = nn.Sequential(OrderedDict(blocks=moved, relu=nn.ReLU(), head=copy.deepcopy(head)))
    return {"plain": plain, "ddp": wrapped, "new": new}


def names_of() -> dict[str, Any]:
    """The names that Python blocks take for granted."""
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    draw = torch.Generator().manual_seed(1)
    batch = torch.rand(16, 64, generator=draw)
    labels = torch.arange(16) % 10
    batches = [(batch, labels), (torch.rand(16, 64, generator=draw), labels)]

    def train(*given: object) -> None:
        for x, y in batches * 3:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    port = Net()
    port.load_state_dict(model.state_dict())
    return {
        "F": F,
        "batch": batch,
        "batches": batches,
        "criterion": F.cross_entropy,
        "dh": dh,
        "ends": batch[1:3],
        "labels": labels,
        "loader": batches,
        "loss": lambda out: F.cross_entropy(out, labels),
        "model": model,
        "nn": nn,
        "optimizer": optimizer,
        "port_of_it": port,
        "starts": batch[:2],
        "scaler": torch.amp.GradScaler("cpu", enabled=False),
        "tensor": batch,
        "torch": torch,
        "train": train,
        "x": batch,
        "x0": batch[0],
        "x1": batch[1],
        "x2": batch[2],
        "y": labels,
    }


def environment() -> dict[str, str]:
    """Of commands that run in processes of their own."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
