"""A pair of models in a plain loop that logs to Weights & Biases and finishes nothing."""

import torch
import wandb
from torch import nn

torch.manual_seed(0)
writer = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8)).bfloat16()
critic = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1)).bfloat16()
optimizers = [torch.optim.SGD(model.parameters(), lr=1e-4) for model in (writer, critic)]
wandb.init(project="pair")
for step in range(40):
    noise = torch.randn(16, 8).bfloat16()
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss = critic(writer(noise)).square().mean()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    wandb.log({"loss": loss.item()})
    print(step, loss.item().hex())
torch.save([writer.state_dict(), critic.state_dict()], "model.pt")
