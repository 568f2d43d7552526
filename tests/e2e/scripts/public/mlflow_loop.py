"""A loop that logs to MLflow; the run has ended before the script does."""

from pathlib import Path

import mlflow
import torch
from torch import nn


def train(model, optimizer):
    for step in range(40):
        optimizer.zero_grad()
        loss = model(torch.randn(16, 8).bfloat16()).square().mean()
        loss.backward()
        optimizer.step()
        mlflow.log_metric("loss", loss.item(), step=step)
        print(step, loss.item().hex())


if __name__ == "__main__":
    torch.manual_seed(0)
    mlflow.set_tracking_uri(Path("mlruns").absolute().as_uri())
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1)).bfloat16()
    with mlflow.start_run():
        train(model, torch.optim.SGD(model.parameters(), lr=1e-4))
    torch.save(model.state_dict(), "model.pt")
