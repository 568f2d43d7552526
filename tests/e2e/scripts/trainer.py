"""A small transformer trained by Hugging Face's Trainer on rows of digits."""

import sys

import numpy as np
import torch
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)


class Losses(TrainerCallback):
    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            print(float(logs["loss"]).hex())


class Rows(torch.utils.data.Dataset):
    def __init__(self, data):
        digits = np.load(data)
        self.x = (digits["x"][:256] * 16).astype(np.int64)
        self.y = digits["y"][:256]

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        return {"input_ids": torch.tensor(self.x[index]), "labels": int(self.y[index])}


def main(data, output):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=17, n_positions=64, n_embd=32, n_layer=2, n_head=2, num_labels=10,
        pad_token_id=0,
    )  # fmt: skip
    arguments = TrainingArguments(
        output, per_device_train_batch_size=16, max_steps=24, logging_steps=1, seed=3,
        report_to=[], save_strategy="no", disable_tqdm=True, use_cpu=True,
        gradient_accumulation_steps=2, dataloader_num_workers=2,
    )  # fmt: skip
    Trainer(
        GPT2ForSequenceClassification(config), arguments, train_dataset=Rows(data),
        callbacks=[Losses()],
    ).train()  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
