"""The layer that the user means, and its output."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from scorecam.backends.pytorch.steps import kept_operation
from scorecam.backends.tracing.recording import tensors_in
from scorecam.backends.tracing.trace import Place
from scorecam.base.wording import quoted
from scorecam.errors import LayerError
from scorecam.shapes import Images


def name_of(layer: object, module: nn.Module) -> str:
    """The name of a layer that the user gives as a name or as a module.

    A name that no module has may be that of an operation; it is returned as it is.

    Raises:
        LayerError: the network has no such layer.
    """
    names = dict(module.named_modules(remove_duplicate=False))
    if isinstance(layer, nn.Module):
        for name, child in names.items():
            if child is layer:
                return name
        raise LayerError(
            f"The layer, a {type(layer).__name__}, is not part of the model.",
            likely="It may belong to another instance of the same network.",
            do="Pass the layer's name instead.",
        )
    if not isinstance(layer, str):
        raise LayerError(
            f"A layer is a name or a module of the model, not a {type(layer).__name__}."
        )
    name, _, call = layer.rpartition("#")
    if layer in names:
        return first_name(names, layer)
    if name and name in names and call.isdigit():
        return f"{first_name(names, name)}#{call}"
    return layer


def first_name(names: Mapping[str, nn.Module], name: str) -> str:
    """The first of a module's names: it may have several."""
    return next(other for other, child in names.items() if child is names[name])


def check_hookable(layer: str, place: Place, calls: int) -> None:
    """Refuse a layer that a gradient method cannot read.

    Args:
        calls: how often its module runs.

    Raises:
        LayerError: it is an operation, runs several times, or returns several tensors.
    """
    if place.operation:
        raise LayerError(
            f"The layer {quoted(layer)} is an operation of torch, and this method needs a module.",
            likely="The network is TorchScript, or an exported program.",
            do="Use methods without gradients: scorecam, rise, occlusion.",
        )
    if calls > 1 or place.tensor > 0:
        raise LayerError(
            f"The layer {quoted(layer)} runs several times or returns several tensors, and this "
            "method needs a module that runs once and returns one.",
            do="Choose another layer; scorecam, rise and occlusion have no such limit.",
        )


@dataclass(frozen=True, eq=False)
class Watched:
    """A layer whose outputs are kept during a pass.

    Args:
        layer: the module's name.
        outputs: for each call, its tensors; or what it returned, if it holds none.
        operation: where it is, if it is an operation and no module.
    """

    layer: str
    outputs: list[Any]
    operation: Place | None = None

    @contextlib.contextmanager
    def kept(self, network: nn.Module, images: Images, ours: Callable[[], bool]) -> Generator[None]:
        """In this context, the outputs of the layer in our own passes are kept."""
        self.outputs.clear()
        if self.operation is not None:
            with kept_operation(images, self.layer, self.operation.calls, self.outputs):
                yield
            return

        def keep(_module: nn.Module, _inputs: object, output: Any) -> None:
            if ours():
                # Cloned at once: later layers may write into it.
                self.outputs.append([tensor.clone() for tensor in tensors_in(output)] or output)

        handle = network.get_submodule(self.layer).register_forward_hook(keep)
        try:
            yield
        finally:
            handle.remove()
