"""A plain loop that logs to MLflow, into local files; the report is among its artifacts.

MLFLOW_ALLOW_FILE_STORE=true python examples/integrations/mlflow_local.py [FOLDER]
"""

import sys
from pathlib import Path

import mlflow
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import deephochuli as dh  # DeepHochuli
from deephochuli.integrations import Follow  # DeepHochuli
from deephochuli.integrations import mlflow as tracking  # DeepHochuli


def main(folder: Path, epochs: int = 2) -> nn.Module:
    """Train."""
    torch.manual_seed(0)
    digits, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(digits, dtype=torch.bfloat16) / 16, torch.tensor(labels)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    mlflow.set_tracking_uri((folder / "mlruns").absolute().as_uri())
    with mlflow.start_run():
        follow = Follow(tracking.Tracker())  # DeepHochuli
        recording = dh.record(model, optimizer, to=folder / "run", follow=follow)  # DeepHochuli
        for epoch in range(epochs):
            for batch in torch.randperm(len(x)).split(64):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x[batch]), y[batch])
                loss.backward()
                optimizer.step()
            mlflow.log_metric("loss", loss.item(), step=epoch)
        recording.close()  # DeepHochuli
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/mlflow-local"))
