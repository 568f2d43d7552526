"""A model that is built in a function and compiled, in one of the ways that torch has."""

import sys

import numpy as np
import torch
from torch import nn


def build(way, backend):
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    if way == "in-place":
        model.compile(backend=backend)
        return model
    return torch.compile(model, backend=backend)


def main(data, way, backend):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    digits = np.load(data)
    x, y = torch.tensor(digits["x"]), torch.tensor(digits["y"])
    model = build(way, backend)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(40):
        batch = torch.randint(0, len(x), (64,))
        loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(loss.item().hex())


if __name__ == "__main__":
    main(*sys.argv[1:])
