"""A plain loop with a SummaryWriter, in BF16: the weights hardly move, and TensorBoard says why.

python examples/integrations/tensorboard_loop.py [FOLDER]
Afterwards, TensorBoard shows the folder "board" in it.
"""

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

import deephochuli as dh  # DeepHochuli
from deephochuli.integrations import Follow, tensorboard  # DeepHochuli


def main(folder: Path, epochs: int = 2) -> nn.Module:
    """Train."""
    torch.manual_seed(0)
    digits, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(digits, dtype=torch.bfloat16) / 16, torch.tensor(labels)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    writer = SummaryWriter(str(folder / "board"))
    follow = Follow(tensorboard.Tracker(writer))  # DeepHochuli
    recording = dh.record(model, optimizer, to=folder / "run", follow=follow)  # DeepHochuli
    for epoch in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
        writer.add_scalar("loss", loss.item(), epoch)
    recording.close()  # DeepHochuli
    writer.close()
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/tensorboard-loop"))
