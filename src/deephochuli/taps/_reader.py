"""The one way in which a tensor reaches the sink."""

# `DisableTorchFunction` has no public interface in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import torch
from torch import Tensor

from deephochuli.taps._faults import Faults
from deephochuli.taps._place import Place
from deephochuli.taps._sink import Sink


class Reader:
    """Shows tensors to the sink; closed, it shows nothing more.

    Gradient hooks live in autograd graphs, which a user may keep for as long as he likes. They
    hold a reader, and a closed reader holds nothing.

    Attributes:
        faults: What has failed.
        epoch: Changes whenever a gradient was seen, so that whoever sees the same epoch twice
            knows that no backward pass has come in between.
    """

    def __init__(self, sink: Sink, faults: Faults) -> None:
        """Show to `sink`; tell `faults` what went wrong."""
        self._sink: Sink | None = sink
        self.faults = faults
        self.epoch = 0

    def close(self) -> None:
        """Let go of the sink."""
        self._sink = None

    def see(self, place: Place, tensor: Tensor) -> None:
        """Show one tensor, outside autograd.

        It is called where no function mode of the user's is active: from hooks that have turned
        them off, or from within autograd, where torch has.
        """
        sink, faults = self._sink, self.faults
        if sink is None or (len(faults) and place in faults):
            return
        try:
            sink.see(place, tensor.detach())
        except Exception as error:  # an instrument never stops the training
            faults.report(place, error)

    def tell(self, event: str, *arguments: object) -> object:
        """Call the method `event` of the sink, unless it has failed before."""
        sink = self._sink
        if sink is None or event in self.faults:
            return None
        try:
            with torch._C.DisableTorchFunction():
                return getattr(sink, event)(*arguments)
        except Exception as error:  # an instrument never stops the training
            self.faults.report(event, error)
            return None


class GradientHook:
    """A tensor hook that shows the gradient and changes nothing."""

    __slots__ = ("_place", "_reader")
    __torch_unserializable__ = True  # torch.save of the tensor drops it without a warning

    def __init__(self, reader: Reader, place: Place) -> None:
        """Show the gradient at `place`."""
        self._reader = reader
        self._place = place

    @property
    def place(self) -> Place:
        """Where the gradient is shown."""
        return self._place

    def __call__(self, gradient: Tensor) -> None:
        """Look at one gradient; returning None leaves it as it is."""
        self._reader.epoch += 1
        self._reader.see(self._place, gradient)


class BaseGradientHook(GradientHook):
    """The same for a view that is then changed in place.

    Autograd rewrites the history of such a view: the gradient no longer passes through the view
    but through the tensor it looks into, so the hook sits there and cuts the part out.
    """

    __slots__ = ("_base_layout", "_view_layout")

    def __init__(self, reader: Reader, place: Place, view: Tensor, base: Tensor) -> None:
        """Show at `place` the part of the gradient of `base` that `view` covers."""
        super().__init__(reader, place)
        self._base_layout = (tuple(base.size()), base.stride())
        offset = view.storage_offset() - base.storage_offset()
        self._view_layout = (tuple(view.size()), view.stride(), offset)

    def __call__(self, gradient: Tensor) -> None:
        """Look at the part of one gradient."""
        self._reader.epoch += 1
        try:
            whole = gradient.detach()
            if (tuple(whole.size()), whole.stride()) != self._base_layout:
                whole = whole.new_empty_strided(*self._base_layout).copy_(whole)
            size, stride, offset = self._view_layout
            part = whole.as_strided(size, stride, whole.storage_offset() + offset)
        except Exception as error:  # an instrument never stops the training
            self._reader.faults.report(self._place, error)
            return
        self._reader.see(self._place, part)
