"""A sink that remembers, and a way to attach it."""

from collections import defaultdict
from contextlib import contextmanager

import pytest

from deephochuli.taps import QUANTITIES, Selection, attach

EVERYTHING = Selection(quantities=QUANTITIES)


class Collector:
    """Keeps a copy of everything it is shown, and the order in which it was told."""

    def __init__(self):
        self.is_on = True
        self.seen = defaultdict(list)
        self.places = {}
        self.events = []
        self.attachment = None
        self.before = {}

    def is_recording(self):
        return self.is_on

    def see(self, place, tensor):
        assert not tensor.requires_grad
        assert self.places.setdefault(str(place), place) is place, "one place, one object"
        self.seen[str(place)].append(tensor.clone())

    def forward_begins(self, is_training):
        self.events.append("train" if is_training else "eval")

    def forward_ends(self):
        self.events.append("end")

    def before_update(self, optimizer):
        self.events.append("before")
        for tap in self.attachment.parameters(optimizer):
            self.before[tap.name] = tap.parameter.detach().clone()
            if tap.g is not None and tap.parameter.grad is not None:
                self.see(tap.g, tap.parameter.grad)

    def after_update(self, optimizer):
        self.events.append("after")
        for tap in self.attachment.parameters(optimizer):
            w = tap.parameter.detach()
            if tap.w is not None:
                self.see(tap.w, w)
            if tap.dw is not None:
                self.see(tap.dw, w - self.before[tap.name])
            for place, value in tap.state:
                self.see(place, value)

    def update_skipped(self, scaler, optimizer):
        self.events.append("skipped")

    def forget(self):
        """Start anew, for another attachment."""
        self.seen.clear()
        self.places.clear()
        self.events.clear()

    def one(self, name):
        """The tensor at a place that was seen exactly once."""
        counts = {known: len(tensors) for known, tensors in self.seen.items()}
        assert counts.get(name) == 1, (name, counts)
        return self.seen[name][0]

    def counts(self, *quantities):
        """How often each place was seen, by name, for some quantities."""
        return {
            name: len(tensors)
            for name, tensors in self.seen.items()
            if name.partition(":")[2] in quantities
        }


@pytest.fixture
def collector():
    return Collector()


@pytest.fixture
def watch(collector):
    """Attach the collector to a model."""

    @contextmanager
    def watching(model, *optimizers, selection=EVERYTHING):
        with attach(model, optimizers, collector, selection) as attachment:
            collector.attachment = attachment
            yield collector
        assert len(attachment.faults) == 0

    return watching
