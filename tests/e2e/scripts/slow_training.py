"""A small training in BF16 that is recorded until a file says that it is enough."""

import sys
import time
from pathlib import Path

import torch
from torch import nn

import deephochuli as dh

folder, stop = sys.argv[1], Path(sys.argv[2])
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))
model.to(torch.bfloat16)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
x = torch.randn(64, 8, dtype=torch.bfloat16)
with dh.record(model, optimizer, to=folder, every=1) as recording:
    while not stop.exists():
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        recording.log(loss=loss.item())
        optimizer.step()
        time.sleep(0.01)
