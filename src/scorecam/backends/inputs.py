"""Networks with several inputs: one is masked, the others are repeated beside it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from torch import Tensor, nn

from scorecam.errors import SettingError, did_you_mean
from scorecam.model import Inputs
from scorecam.shapes import Images

Key = int | str
Style = Literal["in order", "by name", "as one dict"]


@dataclass(frozen=True, eq=False)
class Call:
    """How a network is called with images, and with whatever else it takes.

    Args:
        masked: the place or name of the images among the inputs.
        style: how the inputs are passed.
        own: inputs of this image alone, each with a batch axis of 1, repeated for every mask.
        shared: inputs that have no batch axis, passed as they are.
    """

    masked: Key = 0
    style: Style = "in order"
    own: Mapping[Key, Tensor] = field(default_factory=dict[Key, Tensor])
    shared: Mapping[Key, Any] = field(default_factory=dict[Key, Any])

    def __call__(self, module: nn.Module, images: Images) -> Any:
        """The network's output for these images."""
        inputs: dict[Key, Any] = {self.masked: images}
        for key, value in self.shared.items():
            inputs[key] = _beside(images, value) if isinstance(value, Tensor) else value
        for key, one in self.own.items():
            inputs[key] = _beside(images, one).expand(len(images), *one.shape[1:])
        if self.style == "in order":
            return module(*(inputs[place] for place in sorted(cast("dict[int, Any]", inputs))))
        if self.style == "by name":
            return module(**cast("dict[str, Any]", inputs))
        return module(inputs)


def _beside(images: Images, value: Tensor) -> Tensor:
    """A tensor where the images are, and in their floating-point type if it has one."""
    return value.to(images.device, images.dtype if value.is_floating_point() else value.dtype)


def apart(
    module: nn.Module, inputs: Inputs, masked: Key | None, axes: int
) -> tuple[Images, list[Call]]:
    """The images in several inputs, and for each image how to call the network with the rest.

    Args:
        inputs: by name or in order; tensors as long as the batch belong to its images.
        masked: the images' place or name; None where only one input can be images.
        axes: how many axes images have beside batch and colour.

    Raises:
        SettingError: it is not clear which input is masked.
    """
    if isinstance(inputs, Tensor):
        return inputs, [Call()] * len(inputs)
    named = isinstance(inputs, Mapping)
    entries = cast("dict[Key, Any]", dict(inputs if named else enumerate(inputs)))
    key = _masked(entries, masked, axes)
    images = cast(Tensor, entries.pop(key))
    own = {
        other: value
        for other, value in entries.items()
        if isinstance(value, Tensor) and value.ndim > 0 and len(value) == len(images)
    }
    shared = {other: value for other, value in entries.items() if other not in own}
    style = _style(module, {key, *entries}) if named else "in order"
    return images, [
        Call(key, style, {other: value[i : i + 1] for other, value in own.items()}, shared)
        for i in range(len(images))
    ]


def _masked(entries: Mapping[Key, Any], wanted: Key | None, axes: int) -> Key:
    if wanted is not None:
        if isinstance(entries.get(wanted), Tensor):
            return wanted
        raise SettingError(
            f"masked_input={wanted!r} is not among the inputs.",
            likely=did_you_mean(str(wanted), map(str, entries)),
            do=f"They are {', '.join(map(repr, entries))}.",
        )
    images = [
        key
        for key, value in entries.items()
        if isinstance(value, Tensor) and value.ndim == axes + 2 and value.is_floating_point()
    ]
    if len(images) == 1:
        return images[0]
    if entries and not any(isinstance(value, Tensor) for value in entries.values()):
        raise SettingError(
            f"The inputs hold no tensors: {', '.join(map(repr, entries.values()))}.",
            do="Explain one photo at a time; several inputs of a network are given as tensors.",
        )
    raise SettingError(
        f"{len(images)} of the inputs could be the images that are masked.",
        likely="An image may lack its batch axis." if not images else "",
        do="Name one: scorecam.open_model(net, masked_input=...); they are "
        f"{', '.join(map(repr, entries))}.",
    )


def _style(module: nn.Module, keys: set[Key]) -> Style:
    """Whether the network takes its inputs by these names, or all of them in one dict."""
    parameters = inspect.signature(module.forward).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return "by name" if takes_any or keys <= set(parameters) else "as one dict"
