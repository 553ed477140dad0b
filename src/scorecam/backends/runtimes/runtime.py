"""The adapter that every runtime provides, and what it needs of a network."""

from __future__ import annotations

import abc
import contextlib
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
from torch import Tensor, nn

from scorecam.errors import MissingExtra
from scorecam.model.batches import photos_of
from scorecam.shapes import BatchedScores, Image, Images

if TYPE_CHECKING:
    from scorecam.backends.runtimes.state import State

PHOTOS_OF_224 = 32
"""The most images of 224 × 224 in a pass, and of larger ones as many as take the same memory."""


class Prepared(Protocol):
    """A network's scores as a function of images alone, in evaluation mode."""

    @property
    def network(self) -> nn.Module: ...
    def __call__(self, images: Tensor, /) -> Tensor: ...


class Network(Protocol):
    """A network, and how its scores are read from its output."""

    @property
    def module(self) -> nn.Module: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def precision(self) -> str: ...
    @property
    def readout_key(self) -> object: ...
    def memory_format(self, images: Images) -> torch.memory_format: ...
    def scores(self, images: Images) -> BatchedScores: ...
    def prepared(self) -> contextlib.AbstractContextManager[Prepared]: ...
    def copied(self) -> Network: ...


class Runtime(abc.ABC):
    """A way to convert a network, so that it scores images faster than PyTorch itself.

    A subclass has no state. One instance of it, named `RUNTIME`, is its module's adapter.
    """

    name: ClassVar[str]
    """As users write it."""

    help: ClassVar[str]
    """One line for users."""

    extra: ClassVar[str | None] = None
    """The extra of scorecam that installs it; None where torch includes it."""

    calibrated: ClassVar[Sequence[str]] = ()
    """Precisions that need typical images when a network is converted. "auto" never takes them."""

    batch: ClassVar[int]
    """Images per pass of a converted network, at most."""

    mask_threads: ClassVar[int | None] = None
    """Threads that torch may use to make masked images meanwhile; None for any number."""

    def batch_for(self, image: Image) -> int:
        """Images per pass for images of this size, `c *i`: fewer if they are large."""
        return min(self.batch, photos_of(image.shape[1:], PHOTOS_OF_224))

    @abc.abstractmethod
    def version(self) -> str:
        """The version of the library.

        Raises:
            MissingExtra: it is not installed.
        """

    @abc.abstractmethod
    def precisions(self) -> Sequence[str]:
        """The precisions it computes in on this machine, fastest first.

        Raises:
            MissingExtra: it is not installed.
        """

    def installed(self) -> bool:
        """Whether it can be used on this machine."""
        with contextlib.suppress(MissingExtra):
            return bool(self.precisions())
        return False

    def automatic(self, device: torch.device) -> bool:  # noqa: ARG002
        """Whether runtime="auto" considers it for networks on this device."""
        return False

    def seconds_to_convert(self, weights: int) -> float:  # noqa: ARG002
        """The estimated time to convert a network with this number of weights.

        Infinite for runtimes that "auto" never considers.
        """
        return math.inf

    @abc.abstractmethod
    def check(self, network: Network, precision: str) -> None:
        """Refuse a network that it cannot run here.

        Raises:
            ValueError: it cannot; the message gives the reason.
            MissingExtra: it is not installed.
        """

    def stored(self, network: Network, shape: Sequence[int], state: State) -> bool:  # noqa: ARG002
        """Whether an earlier process converted this network, so that it costs little to do again.

        Args:
            network: the network.
            shape: of a batch.
            state: of the network.
        """
        return False

    @abc.abstractmethod
    def convert(
        self, network: Network, example: Images, precision: str, *, state: State
    ) -> Callable[[Images], BatchedScores]:
        """Convert a network. Exceptions of the library pass through.

        Args:
            network: may be in use by other threads.
            example: images of the size that every pass will have, `batch` of them. For precisions
                in `calibrated`, a multiple of that, typical of the images to be scored.
            precision: what to compute in.
            state: the network's state, by which a conversion may be stored.

        Returns:
            A function of at most `batch` images.
        """
