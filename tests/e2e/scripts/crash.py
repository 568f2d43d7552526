"""A training that fails half-way, inside a call chain of its own."""

import sys

import numpy as np
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(torch.relu(self.hidden(x)))


def train(x, y, n_steps):
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(n_steps):
        if step == n_steps // 2:
            x = x[:, :63]
        loss = nn.functional.cross_entropy(model(x[:64]), y[:64])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(loss.item().hex(), flush=True)


def main(data):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    digits = np.load(data)
    try:
        train(torch.tensor(digits["x"]), torch.tensor(digits["y"]), 40)
    except RuntimeError as error:
        raise ValueError("the data is of the wrong shape") from error


if __name__ == "__main__":
    main(sys.argv[1])
