"""A network and its readout as one function of images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from scorecam.backends.inputs.call import Call
from scorecam.model.readout import Readout, read
from scorecam.shapes import BatchedScores, Images


@dataclass(frozen=True, eq=False)
class PreparedNetwork:
    """A network's scores as a function of images alone.

    Args:
        network: the network, in evaluation mode.
        call: how it is called.
        readout: how its output is read.
    """

    network: nn.Module
    call: Call
    readout: Readout

    def __call__(self, images: Tensor) -> Tensor:
        return read(self.call(self.network, images), self.readout, images.shape[0]).detach()


class Readable(nn.Module):
    """A network whose output is its scores, for libraries that take a `torch.nn.Module`."""

    def __init__(self, network: nn.Module, call: Call, readout: Readout) -> None:
        super().__init__()
        self.network = network
        # In a tuple, so that torch registers neither as a submodule.
        self._reading = call, readout

    def forward(self, images: Images) -> BatchedScores:
        call, readout = self._reading
        return read(call(self.network, images), readout, len(images))
