"""The Trainer of transformers: python trainer_fit.py STEPS [resume]."""

import sys

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed


class Told(Trainer):
    """Prints the loss of each step."""

    def training_step(self, *given, **options):
        loss = super().training_step(*given, **options)
        print(self.state.global_step, loss.item().hex())
        return loss


if __name__ == "__main__":
    set_seed(0)
    rows = (torch.arange(64)[:, None] + torch.arange(8)) % 32
    config = GPT2Config(
        vocab_size=32, n_positions=8, n_embd=16, n_layer=1, n_head=2, bos_token_id=None,
        eos_token_id=None,
    )  # fmt: skip
    trainer = Told(
        GPT2LMHeadModel(config).bfloat16(),
        TrainingArguments(
            output_dir="checkpoints",
            max_steps=int(sys.argv[1]),
            per_device_train_batch_size=8,
            learning_rate=1e-5,
            lr_scheduler_type="constant",
            save_steps=10,
            logging_steps=5,
            report_to="tensorboard",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=[{"input_ids": row, "labels": row} for row in rows],
    )
    trainer.train(resume_from_checkpoint="resume" in sys.argv)
    torch.save(trainer.model.state_dict(), "model.pt")
