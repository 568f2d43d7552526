"""Train one residual ReLU network in three formats, record all three, and write the report.

The data are the 1797 handwritten digits that come with scikit-learn. The network, the data order
and the learning rate are the same each time; only the number format differs: FP32, pure BF16, and
pure FP16 without loss scaling (weights, gradients and optimizer state in that format).

    python examples/demo.py [FOLDER]
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import deephochuli as dh
from deephochuli.report import print_findings

FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Residual(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, channels: int) -> None:
        """Make a block that keeps the number of channels."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Compute relu(x + f(x)); shape [batch, channels, 8, 8] to the same."""
        y = self.relu1(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        y += x
        return self.relu2(y)


class DigitsNet(nn.Module):
    """A residual ReLU network with 11 convolutions for 8 x 8 images."""

    def __init__(self, channels: int = 16, n_blocks: int = 5) -> None:
        """Make the network."""
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.blocks = nn.Sequential(*(Residual(channels) for _ in range(n_blocks)))
        self.head = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Classify images, shape [batch, 1, 8, 8] to logits [batch, 10]."""
        y = self.blocks(self.relu(self.norm(self.stem(x))))
        return self.head(y.mean(dim=(2, 3)))


def load_data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Load the digits, split into 1437 to train on and 360 to test on."""
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(digits.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = order[:1437], order[1437:]
    return x[train], y[train], x[test], y[test]


def train(folder: Path, dtype: torch.dtype, epochs: int, every: int) -> tuple[float, float]:
    """Train once in one format while recording; return the last loss and the test accuracy."""
    x, y, x_test, y_test = load_data()
    torch.manual_seed(0)
    model = DigitsNet().to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    order = torch.Generator().manual_seed(1)
    with dh.record(model, optimizer, to=folder, every=every) as recording:
        for _ in range(epochs):
            for batch in torch.randperm(len(x), generator=order).split(32):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x[batch].to(dtype)), y[batch])
                recording.log(loss=loss)
                loss.backward()
                optimizer.step()
    model.eval()
    with torch.no_grad():
        correct = model(x_test.to(dtype)).argmax(1) == y_test
    return loss.item(), correct.float().mean().item()


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", nargs="?", default="runs/demo", type=Path)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--every", type=int, default=2, help="record every n-th step")
    options = parser.parse_args()
    for name in FORMATS:
        if (options.folder / name / "manifest.json").exists():
            shutil.rmtree(options.folder / name)  # of an earlier demonstration
    runs: list[Path] = []
    for name, dtype in FORMATS.items():
        run = options.folder / name
        loss, accuracy = train(run, dtype, options.epochs, options.every)
        print(f"{name}: last loss {loss:.4g}, test accuracy {accuracy:.3f}", flush=True)
        runs.append(run)
    print_findings(runs)
    path = dh.report(runs, options.folder / "report.html", title="Digits in FP32, BF16 and FP16")
    print(path.resolve())


if __name__ == "__main__":
    sys.exit(main())
