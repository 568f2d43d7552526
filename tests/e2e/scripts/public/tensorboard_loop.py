"""A plain loop in BF16 that draws its loss in TensorBoard."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

torch.manual_seed(0)
x, y = torch.randn(256, 32).bfloat16(), torch.randint(10, (256,))
model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10)).bfloat16()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
with SummaryWriter("board") as writer:
    for step in range(40):
        batch = torch.randint(256, (32,))
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
        writer.add_scalar("loss", loss.item(), step)
        print(step, loss.item().hex())
torch.save(model.state_dict(), "model.pt")
