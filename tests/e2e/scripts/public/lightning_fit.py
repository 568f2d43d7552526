"""Lightning with a logger and checkpoints: python lightning_fit.py EPOCHS [CHECKPOINT]."""

import sys

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).bfloat16()

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("loss", loss)
        print(self.global_step, loss.item().hex())
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-4)


if __name__ == "__main__":
    pl.seed_everything(0, verbose=False)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(160, 16, generator=draw).bfloat16()
    data = TensorDataset(x, torch.randint(4, (160,), generator=draw))
    trainer = pl.Trainer(
        max_epochs=int(sys.argv[1]),
        accelerator="cpu",
        logger=TensorBoardLogger(".", name="board"),
        callbacks=[ModelCheckpoint("checkpoints", filename="last", enable_version_counter=False)],
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    resume = sys.argv[2] if len(sys.argv) > 2 else None
    net = Net()
    trainer.fit(net, DataLoader(data, batch_size=16), ckpt_path=resume)
    torch.save(net.state_dict(), "model.pt")
