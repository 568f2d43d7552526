"""A training whose batches come from processes that the data loader starts."""

import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Digits(Dataset):
    """Images that a module of its own prepares, in the worker."""

    def __init__(self, data):
        digits = np.load(data)
        self.x, self.y = torch.tensor(digits["x"]), torch.tensor(digits["y"])
        self.prepare = nn.Sequential(nn.Linear(64, 64), nn.ReLU())

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        return self.prepare(self.x[index]).detach(), self.y[index]


def main(data, start):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    loader = DataLoader(
        Digits(data), batch_size=64, shuffle=True, num_workers=2, multiprocessing_context=start
    )
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(loss.item().hex())


if __name__ == "__main__":
    main(*sys.argv[1:])
