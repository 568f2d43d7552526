"""A training as people write it: no function, no class, everything at the top level."""

import argparse
import sys

import numpy as np
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--steps", type=int, default=60)
args = parser.parse_args()

torch.set_num_threads(1)
torch.manual_seed(0)
digits = np.load(args.data)
x, y = torch.tensor(digits["x"]), torch.tensor(digits["y"])

model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
for step in range(args.steps):
    batch = torch.randint(0, len(x), (64,))
    loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item().hex())
print(sys.argv[1:], __name__, torch.get_rng_state().sum().item())
