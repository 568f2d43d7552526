"""A plain loop that logs to Weights & Biases, offline; alerts come while it trains.

python examples/integrations/wandb_offline.py [FOLDER]
"""

import sys
from pathlib import Path

import torch
import wandb
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import deephochuli as dh  # DeepHochuli
from deephochuli.integrations import Follow  # DeepHochuli
from deephochuli.integrations import wandb as board  # DeepHochuli


def main(folder: Path, epochs: int = 2) -> nn.Module:
    """Train."""
    torch.manual_seed(0)
    digits, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(digits, dtype=torch.bfloat16) / 16, torch.tensor(labels)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    folder.mkdir(parents=True, exist_ok=True)
    with wandb.init(project="digits", mode="offline", dir=folder) as run:
        follow = Follow(board.Tracker(run))  # DeepHochuli
        recording = dh.record(model, optimizer, to=folder / "run", follow=follow)  # DeepHochuli
        for _ in range(epochs):
            for batch in torch.randperm(len(x)).split(64):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x[batch]), y[batch])
                loss.backward()
                optimizer.step()
                run.log({"loss": loss.item()})
        recording.close()  # DeepHochuli
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/wandb-offline"))
