"""Networks with several inputs: one is masked, the others are repeated for every mask."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from scorecam.backends.pytorch.forms import Form
from scorecam.base.wording import quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.io.arguments import tensor
from scorecam.model.model import Inputs
from scorecam.shapes import Images

Key = int | str
Style = Literal["in order", "by name", "as one dict"]


@dataclass(frozen=True, eq=False)
class Call:
    """How a network is called with images and its other inputs.

    Args:
        masked: the index or name of the images among the inputs.
        style: how the inputs are passed.
        own: inputs that belong to this image, with a batch axis of 1; repeated for every mask.
        shared: inputs without a batch axis, passed as they are.
        form: how the network takes the images, if not as `b c *i`.
    """

    masked: Key = 0
    style: Style = "in order"
    own: Mapping[Key, Tensor] = field(default_factory=dict[Key, Tensor])
    shared: Mapping[Key, Any] = field(default_factory=dict[Key, Any])
    form: Form | None = None

    def __call__(self, module: nn.Module, images: Images) -> Any:
        """The network's output for these images."""
        taken = images if self.form is None else self.form.inputs(images)
        inputs: dict[Key, Any] = {self.masked: taken}
        for key, value in self.shared.items():
            inputs[key] = _like(images, value) if isinstance(value, Tensor) else value
        for key, one in self.own.items():
            inputs[key] = _like(images, one).expand(len(images), *one.shape[1:])
        if self.style == "in order":
            return module(*(inputs[place] for place in sorted(cast("dict[int, Any]", inputs))))
        if self.style == "by name":
            return module(**cast("dict[str, Any]", inputs))
        return module(inputs)


def _like(images: Images, value: Tensor) -> Tensor:
    """A tensor on the images' device, and in their type if it is floating-point."""
    return value.to(images.device, images.dtype if value.is_floating_point() else value.dtype)


def split_inputs(
    module: nn.Module, inputs: Inputs, masked: Key | None, axes: int
) -> tuple[Images, dict[Key, Any], Call]:
    """The images among several inputs, the other inputs, and how the network is called.

    Args:
        inputs: by name or in order.
        masked: the index or name of the images; None if only one input can be images.
        axes: the number of axes of images, without batch and colour.

    Raises:
        SettingError: it is unclear which input is masked, or that input is not a batch of images.
    """
    by_name = isinstance(inputs, Mapping)
    entries = cast("dict[Key, Any]", dict(inputs if by_name else enumerate(inputs)))
    key = _masked_key(entries, masked, axes)
    images = tensor(entries.pop(key), f"The masked input {quoted(key)}")
    if images.ndim != axes + 2:
        raise SettingError(
            f"The masked input {quoted(key)} has the shape {tuple(images.shape)}; images have "
            f"{axes + 2} axes, the batch first.",
            likely="It may lack the batch axis." if images.ndim == axes + 1 else "",
            do="Pass all inputs with a batch axis, even for one image; or name another input: "
            "scorecam.open_model(net, masked_input=...).",
        )
    return images, entries, Call(key, _style(module, {key, *entries}) if by_name else "in order")


def may_belong(value: Any, images: int) -> bool:
    """Whether an input has a row for each image."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_quantized
        and value.ndim > 0
        and len(value) == images
    )


def one_by_one(
    plain: Call, images: Images, own: Collection[Key], entries: Mapping[Key, Any]
) -> list[Call]:
    """A call for each image, with its own row of the inputs that belong to the images."""
    shared = {key: value for key, value in entries.items() if key not in own}
    return [
        replace(plain, own={key: entries[key][i : i + 1] for key in own}, shared=shared)
        for i in range(len(images))
    ]


def whole(plain: Call, entries: Mapping[Key, Any]) -> Call:
    """A call with all images at once, and the other inputs unchanged."""
    return replace(plain, shared=dict(entries))


def _masked_key(entries: Mapping[Key, Any], named: Key | None, axes: int) -> Key:
    if named is not None:
        if named in list(entries) and isinstance(entries[named], Tensor):
            return named
        raise SettingError(
            f"masked_input={quoted(named)} is not among the inputs.",
            likely=did_you_mean(named, map(str, entries)),
            do=f"They are {', '.join(map(quoted, entries))}.",
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
            f"There are no tensors among the inputs: {', '.join(map(quoted, entries.values()))}.",
            do="Explain one photo at a time; pass several inputs of a network as tensors.",
        )
    raise SettingError(
        f"{len(images)} of the inputs could be the images to mask.",
        likely="An image may lack its batch axis." if not images else "",
        do="Name one: scorecam.open_model(net, masked_input=...); they are "
        f"{', '.join(map(quoted, entries))}.",
    )


def _style(module: nn.Module, keys: set[Key]) -> Style:
    """Whether the network takes its inputs by these names, or all in one dict."""
    parameters = inspect.signature(module.forward).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return "by name" if takes_any or keys <= set(parameters) else "as one dict"
