"""The activation maps in the output of a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from scorecam.backends.tracing.trace import Place
from scorecam.base.wording import quoted, reason
from scorecam.errors import LayerError
from scorecam.io.arguments import choice
from scorecam.shapes import BatchedActivations, Images

GivenLayout = Literal["channels first", "channels last"]
"""Layouts that users can give: `b k *g` and `b *g k`."""


def check_layout(layout: str | None) -> GivenLayout | None:
    """The user's layout.

    Raises:
        SettingError: there is no such layout.
    """
    known: tuple[GivenLayout, ...] = get_args(GivenLayout)
    return None if layout is None else cast(GivenLayout, choice("layout", layout, known))


@dataclass(frozen=True)
class Given:
    """What the user said about the maps of the explained layer.

    Args:
        layout: where its channels are.
        reshape: its output → `b k *g`.
    """

    layout: GivenLayout | None
    reshape: Callable[[Tensor], Tensor] | None

    @property
    def any(self) -> bool:
        return self.layout is not None or self.reshape is not None

    def maps(self, tensor: Tensor, layer: str) -> Tensor:
        """The maps in a layer's output."""
        if self.reshape is None:
            return tensor.movedim(-1, 1) if self.layout == "channels last" else tensor
        try:
            maps = self.reshape(tensor)
        except Exception as error:
            raise LayerError(
                f"reshape= failed on the output of the layer {quoted(layer)}, of shape "
                f"{tuple(tensor.shape)}: {type(error).__name__}: {reason(error)}",
                do="It takes the layer's output and returns its maps, b k h w.",
            ) from error
        if not isinstance(maps, Tensor):
            raise LayerError(
                f"reshape= returned a {type(maps).__name__} for the layer {quoted(layer)}.",
                do="It takes the layer's output and returns its maps, b k h w.",
            )
        return maps


def maps_in(
    outputs: Sequence[Any], images: Images, layer: str, place: Place, given: Given
) -> BatchedActivations:
    """The maps in a layer's output: `b k *g` float32.

    Args:
        outputs: for each call that is joined, the tensors that the layer returned, or what it
            returned if there are none.
        images: `b c *i`.
        layer: its name.
        place: where its maps are.
        given: what the user said about its maps.

    Raises:
        LayerError: it has none.
    """
    tensors: list[Tensor] = []
    for output in outputs:
        if not isinstance(output, list):
            raise LayerError(
                f"The layer {quoted(layer)} returns a {type(output).__name__}, not a tensor.",
                do="Choose a layer inside it; scorecam.layers(model, image) lists them.",
            )
        tensor = cast("list[Tensor]", output)[place.tensor]
        tensors.append(tensor.dequantize() if tensor.is_quantized else tensor)
    tensor = torch.stack(tensors) if len(tensors) > 1 else tensors[0]
    maps = given.maps(tensor, layer) if given.any else _followed(tensor, images, layer, place)
    if maps.ndim != images.ndim or len(maps) != len(images):
        raise _no_grid(tensor, images, layer)
    return maps.to(torch.float32, copy=True, memory_format=torch.contiguous_format)


def _followed(tensor: Tensor, images: Images, layer: str, place: Place) -> BatchedActivations:
    """The maps, in the layout that the network's operations gave them."""
    if not place.follows_image:
        raise LayerError(
            f"The layer {quoted(layer)} does not depend on the masked image.",
            likely="It may belong to another input of the network, or hold constants.",
            do="Choose another layer, which scorecam.layers(model, inputs) lists; or mask another "
            "input: scorecam.open_model(net, masked_input=...).",
        )
    if place.entry:
        raise LayerError(
            f"The layer {quoted(layer)} holds maps of a part of the image only: {place.entry}.",
            likely="The network runs this module once for each frame, slice or picture.",
            do=f"Give the layer without the number of the call, {quoted(place.name)}: then the "
            "calls are joined, if there is one for each entry and they have the same shape.",
        )
    maps = None if place.layout is None else place.layout.maps(tensor, len(images))
    if maps is None:
        raise _no_grid(tensor, images, layer)
    return maps


def did_not_run(layer: str) -> LayerError:
    """The error for a layer without any call."""
    return LayerError(
        f"The layer {quoted(layer)} did not run.",
        likely="The network may use it only in training, not for every image, or not at all.",
        do="scorecam.layers(model, image) lists the layers that do run.",
    )


def _no_grid(tensor: Tensor, images: Images, layer: str) -> LayerError:
    return LayerError(
        f"The layer {quoted(layer)} has no grid: its output has the shape "
        f"{tuple(tensor.shape)} for an input of shape {tuple(images.shape)}, and it could not be "
        "followed which of its axes are positions in the image.",
        likely="Pooled, flattened and fully connected layers have no positions.",
        do="Choose an earlier layer; scorecam.layers(model, image) lists them. If this one holds "
        'maps, say how: open_model(net, layout="channels last") or reshape=function.',
    )
