"""Two models that train against each other, each with its optimizer, and a copy that follows."""

import copy
import sys

import numpy as np
import torch
from torch import nn


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, noise):
        return torch.sigmoid(self.layers(noise))


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.last = nn.Linear(64, 1)

    def forward(self, x):
        return self.last(nn.functional.leaky_relu(self.first(x), 0.2))


def main(data):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.tensor(np.load(data)["x"])
    generator, critic = Generator(), Critic()
    average = copy.deepcopy(generator)
    generator_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.9))
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))
    bce = nn.BCEWithLogitsLoss()
    for _ in range(30):
        real = images[torch.randint(0, len(images), (32,))]
        fake = generator(torch.randn(32, 16))
        critic_optimizer.zero_grad()
        critic_loss = bce(critic(real), torch.ones(32, 1)) + bce(
            critic(fake.detach()), torch.zeros(32, 1)
        )
        critic_loss.backward()
        critic_optimizer.step()
        generator_optimizer.zero_grad()
        generator_loss = bce(critic(fake), torch.ones(32, 1))
        generator_loss.backward()
        generator_optimizer.step()
        with torch.no_grad():
            for kept, new in zip(average.parameters(), generator.parameters(), strict=True):
                kept.lerp_(new, 0.01)
        average(torch.zeros(1, 16))
        print(critic_loss.item().hex(), generator_loss.item().hex())


if __name__ == "__main__":
    main(sys.argv[1])
