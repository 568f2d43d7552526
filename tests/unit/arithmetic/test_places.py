"""Layers of nodes: the same whichever thread works the backward, as that of a GPU does."""

import threading

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from deephochuli.arithmetic._places import Places


class Checkpointed(nn.Module):
    """Two layers, of which the second is computed again in the backward, and one behind them."""

    def __init__(self, reentrant):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
        self.reentrant = reentrant

    def forward(self, x):
        x = torch.tanh(self.first(x))
        return self.last(checkpoint(self.second, x, use_reentrant=self.reentrant).tanh())


def here(job):
    job()


def elsewhere(job):
    """Run in a thread that begins to count its nodes anew."""
    thread = threading.Thread(target=job)
    thread.start()
    thread.join()


def worked(reentrant, run):
    """The layers of all nodes, in the order in which a backward works them."""
    model = Checkpointed(reentrant)
    places, found = Places(model), []
    places.follow()
    own = nn.Linear.forward

    def forward(self, x):
        out = own(self, x)
        node = out.grad_fn
        if node is not None:
            node.register_prehook(lambda _: found.append(places.of_node(node)))
        return out

    try:
        for layer in (model.first, model.second, model.last):
            layer.forward = forward.__get__(layer)
        loss = model(torch.ones(2, 3, requires_grad=True)).sum()
        run(loss.backward)
    finally:
        places.forget()
    return found


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_thread_of_its_own_for_the_backward(reentrant):
    assert worked(reentrant, here) == ["last", "second", "first"]
    assert worked(reentrant, elsewhere) == ["last", "second", "first"]
