"""Trains under DDP; nothing in it knows that it may be watched."""

import gc
import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(7)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
model = DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
generator = torch.Generator().manual_seed(rank)
for _ in range(5):
    loss = model(torch.randn(8, 4, generator=generator)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
total = sum(parameter.detach().double().sum() for parameter in model.parameters())
if rank == 0:
    print(f"{float(total):.17g} of {dist.get_world_size()} ranks, {sys.argv[1:]}")
# A model that outlives the group keeps the group's threads alive. One that ends while Python does
# aborts the process: with torch 2.13 that happens in one of eight runs.
del model, optimizer, loss
gc.collect()
dist.destroy_process_group()
assert "RANK" in os.environ
