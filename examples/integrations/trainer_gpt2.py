"""Hugging Face Trainer: a tiny GPT-2 on counting sequences, and the lines that have it recorded.

python examples/integrations/trainer_gpt2.py [FOLDER]
"""

import sys
from pathlib import Path

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from deephochuli.integrations.transformers import DeepHochuliCallback  # DeepHochuli


def main(folder: Path, steps: int = 40) -> nn.Module:
    """Train."""
    torch.manual_seed(0)
    starts = torch.randint(32, (256, 1), generator=torch.Generator().manual_seed(1))
    rows = (starts + torch.arange(16)) % 32
    config = GPT2Config(
        vocab_size=32,
        n_positions=16,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config)
    trainer = Trainer(
        model,
        TrainingArguments(
            output_dir=str(folder / "checkpoints"),
            max_steps=steps,
            per_device_train_batch_size=8,
            learning_rate=1e-3,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            save_strategy="no",
        ),
        train_dataset=[{"input_ids": row, "labels": row} for row in rows],
        callbacks=[
            DeepHochuliCallback(folder / "run", every=5, on_finding="stop"),  # DeepHochuli
        ],
    )
    trainer.train()
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/trainer-gpt2"))
