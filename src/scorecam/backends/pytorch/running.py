"""Passes of a network in evaluation mode, which leave it as it was."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from scorecam.backends.inputs.call import Call
from scorecam.backends.locks import exclusively
from scorecam.backends.pytorch import hints, in_place
from scorecam.backends.pytorch.views import Strayed, Views
from scorecam.base.wording import reason
from scorecam.errors import ModelError, ScorecamError
from scorecam.model.shortage import memory_errors_translated
from scorecam.shapes import Images

T = TypeVar("T")

COMPUTED_IN = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Types in which networks compute. Eight-bit types only store numbers."""

_UNVIEWABLE: WeakSet[nn.Module] = WeakSet()
"""Networks that cannot have a view, and are run themselves. Threads share the set."""


@dataclass(frozen=True, eq=False)
class Runner:
    """Runs a network. Networks that share a module take turns, a pass at a time.

    Args:
        module: the network.
        call: how it is called.
        views: its views; every pass takes one.
    """

    module: nn.Module
    call: Call
    views: Views

    @property
    def tensors(self) -> Iterator[Tensor]:
        """The network's parameters, and then its buffers."""
        return itertools.chain(self.module.parameters(), self.module.buffers())

    @property
    def floats(self) -> Tensor:
        """Its first floating-point tensor, whose device and type the inputs get."""
        for tensor in self.tensors:
            if tensor.dtype in COMPUTED_IN:
                return tensor
        return torch.empty(0, dtype=torch.float32)  # quantised, or without weights

    def run(self, images: Images, task: Callable[[nn.Module, Tensor], T], *, check: bool) -> T:
        """The result of `task` for the network in evaluation mode, without autograd.

        Args:
            images: are moved to the network's device and type.
            task: is called with the network to use, and the images.
            check: whether to make sure that a view runs none of the network's own modules.

        Raises:
            ModelError: the network failed; the message gives the likely reason.
            MemoryShortage: the images do not fit into memory.
        """
        floats = self.floats
        try:
            with exclusively(self.module), memory_errors_translated():
                inputs = images.to(floats.device, floats.dtype)
                if any(map(is_lazy, self.tensors)):
                    self._initialise(inputs[:1])
                with torch.inference_mode():
                    return self._with_view(lambda network: task(network, inputs), check=check)
        except ScorecamError:
            raise
        except Exception as error:
            raise hints.failed(error, images, self.module) from error

    def _with_view(self, task: Callable[[nn.Module], T], *, check: bool) -> T:
        if self.module not in _UNVIEWABLE:
            try:
                check = check or not self.views.checked
                with self.views.one(self.module, check=check) as view:
                    return task(view)
            except Strayed:
                _UNVIEWABLE.add(self.module)
        with in_place.restored_afterwards(self.module) as network:
            return task(network)

    def _initialise(self, image: Images) -> None:
        """Give lazy layers their weights, as the network's own first call would."""
        with torch.no_grad(), self.views.building(self.module) as view:
            self.call(view, image)

    @contextlib.contextmanager
    def lasting(self) -> Generator[nn.Module]:
        """A view that may be used after the context; without a view, the network itself."""
        with exclusively(self.module):
            try:
                if self.module in _UNVIEWABLE:
                    raise Strayed
                view = self.views.kept(self.module)
            except Strayed:
                with in_place.restored_afterwards(self.module):
                    yield self.module
            else:
                yield view

    @contextlib.contextmanager
    def differentiable(self) -> Generator[nn.Module]:
        """The network with autograd, and with parameters that need no gradient.

        Raises:
            ModelError: the code in the context failed.
        """
        try:
            with (
                exclusively(self.module),
                torch.inference_mode(mode=False),
                torch.enable_grad(),
                self._without_gradients() as network,
                memory_errors_translated(),
            ):
                yield network
        except ScorecamError:
            raise
        except Exception as error:
            raise ModelError(
                f"The model could not be differentiated: {type(error).__name__}: {reason(error)}",
                likely="The network, or one of its operations, may have no gradient, or change its "
                "values in place.",
                do="Use methods that need none: scorecam, rise, occlusion.",
            ) from error

    @contextlib.contextmanager
    def _without_gradients(self) -> Generator[nn.Module]:
        if self.module in _UNVIEWABLE:
            with in_place.restored_afterwards(self.module), in_place.untouched(self.module):
                yield self.module
            return
        with self.views.one(self.module, detach=True) as view:
            yield view

    def own_calls(self, network: nn.Module) -> Callable[[], bool]:
        """A function for hooks on the network that `task` gets: whether the current call is ours.

        Nobody else can call a view. The network itself may be running in other threads.
        """
        if network is not self.module:
            return lambda: True
        thread = threading.get_ident()
        return lambda: threading.get_ident() == thread
