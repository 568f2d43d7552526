"""The small convolutional network of the reference tables, trained on scikit-learn's digits."""

import torch
from torch import Tensor, nn

N_TRAIN = 1437
N_EPOCHS = 20
BATCH = 64


def digits_net() -> nn.Sequential:
    """conv 1-16, conv 16-32, max-pool, conv 32-32, 512-64, 64-10, with ReLU."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images and labels for training, and for testing, split with seed 0."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    images = torch.tensor(loaded.data, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    labels = torch.tensor(loaded.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = order[:N_TRAIN], order[N_TRAIN:]
    return images[train], labels[train], images[test], labels[test]


def trained_digits_net(n_epochs: int = N_EPOCHS, seed: int = 0, order_seed: int = 21) -> nn.Module:
    """The network after SGD with lr 0.05 and momentum 0.9; the global generator stays as it was."""
    images, labels, _, _ = digits()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = digits_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    generator = torch.Generator().manual_seed(order_seed)
    for _ in range(n_epochs):
        order = torch.randperm(len(images), generator=generator)
        for chosen in order.split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    return model


def accuracy(model: nn.Module) -> float:
    """Share of the test images that are recognised."""
    _, _, images, labels = digits()
    with torch.no_grad():
        return float((model(images).argmax(1) == labels).double().mean())
