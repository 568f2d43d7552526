"""Lightning: a classifier of digits, and the lines that have it recorded.

python examples/integrations/lightning_digits.py [FOLDER]
"""

import sys
from pathlib import Path

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from deephochuli.integrations.lightning import DeepHochuliCallback  # DeepHochuli


class Digits(pl.LightningModule):
    """A multilayer perceptron."""

    def __init__(self, width: int = 64) -> None:
        """Make the layers."""
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(64, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 10),
        )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch."""
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain Adam."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def main(folder: Path, epochs: int = 2) -> nn.Module:
    """Train."""
    pl.seed_everything(0, verbose=False)
    x, y = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y))
    model = Digits()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            DeepHochuliCallback(folder / "run", every=5, on_finding="stop"),  # DeepHochuli
        ],
    )
    trainer.fit(model, DataLoader(data, batch_size=64, shuffle=True))
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/lightning-digits"))
