"""Networks with several inputs: one is masked, the others are repeated for every mask."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from scorecam.backends.inputs.derived import Derived, derived_input
from scorecam.backends.inputs.structure import Key, Slot, entries, filled, holds_tensors, template
from scorecam.backends.tracing.forms import Form
from scorecam.base.wording import quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.io.arguments import tensor
from scorecam.model.model import Inputs
from scorecam.shapes import Images

Style = Literal["in order", "by name", "as one argument", "image tower"]

TOWERS = {"get_image_features": "get_text_features", "encode_image": "encode_text"}
"""The methods of networks for images and texts, such as CLIP: that for images, that for texts."""


@dataclass(frozen=True, eq=False)
class Call:
    """How a network is called with images and its other inputs.

    Args:
        masked: the index or name of the images among the inputs.
        style: how the inputs are passed; "image tower" for the part of CLIP that takes images.
        structure: the inputs, with a `Slot` for each.
        own: inputs that belong to this image, with a batch axis of 1; repeated for every mask.
        shared: inputs that all images share, passed as they are.
        derived: inputs that are computed from the images by the user's functions.
        form: how the network takes the images, if not as `b c *i`.
    """

    masked: Key = 0
    style: Style = "in order"
    structure: Any = (Slot(0),)
    own: Mapping[Key, Tensor] = field(default_factory=dict[Key, Tensor])
    shared: Mapping[Key, Any] = field(default_factory=dict[Key, Any])
    derived: Derived = field(default_factory=dict[Key, Any])
    form: Form | None = None

    @property
    def alone(self) -> bool:
        """Whether the network takes the images and nothing else."""
        return not (self.own or self.shared or self.derived)

    def taken(self, images: Images) -> Tensor:
        """Images as the network takes them."""
        return images if self.form is None else self.form.inputs(images)

    def inputs(self, images: Images) -> dict[Key, Any]:
        """The network's inputs for these images, by index or name."""
        taken = self.taken(images)
        inputs: dict[Key, Any] = {self.masked: taken}
        for key, value in self.shared.items():
            inputs[key] = _like(images, value) if isinstance(value, Tensor) else value
        for key, one in self.own.items():
            # Contiguous, as a user's own batch would be: networks call `view` on it.
            inputs[key] = _like(images, one).expand(len(images), *one.shape[1:]).contiguous()
        for key, function in self.derived.items():
            inputs[key] = derived_input(key, function, taken)
        return inputs

    def __call__(self, module: nn.Module, images: Images) -> Any:
        """The network's output for these images."""
        given = filled(self.structure, self.inputs(images))
        if self.style == "image tower" and (method := image_method(module)):
            return getattr(module, method)(*given)
        if self.style == "in order":
            return module(*given)
        return module(**given) if self.style == "by name" else module(given)


def image_method(module: nn.Module) -> str | None:
    """The method that embeds images, of a network that has one for texts too."""
    both = (
        each for each in TOWERS.items() if all(callable(getattr(module, n, None)) for n in each)
    )
    return next((method for method, _ in both), None)


def _like(images: Images, value: Tensor) -> Tensor:
    """A tensor on the images' device, and in their type if it is floating-point."""
    return value.to(images.device, images.dtype if value.is_floating_point() else value.dtype)


def tensor_call(module: nn.Module, masked: Key | None, derived: Derived) -> Call:
    """How a network is called with images and the inputs that are derived from them."""
    if not derived:
        return Call(style="image tower") if image_method(module) else Call()
    names = all(isinstance(key, str) for key in derived)
    if masked is None:
        masked = next(iter(_parameters(module)), "0") if names else 0
    given: Any = {masked: None} if names else [None]
    structure, style = _with_derived(module, given, derived)
    return Call(masked, style, structure=structure, derived=derived)


def split_inputs(
    module: nn.Module, inputs: Inputs, masked: Key | None, axes: int, derived: Derived
) -> tuple[Images, dict[Key, Any], Call]:
    """The masked input as the user has it, the other inputs, and how the network is called.

    Args:
        inputs: by name or in order, perhaps nested.
        masked: the index or name of the images; None if only one input can be images.
        axes: the number of axes of images, without batch and colour.
        derived: functions that compute inputs from the masked one.

    Raises:
        SettingError: it is unclear which input is masked, or that input is not a batch of images.
    """
    given: Any = inputs
    outer = isinstance(given, list | tuple) and len(given) == 1 and holds_tensors(given[0])
    if outer:
        [given] = inputs
    structure, style = _with_derived(module, given, derived)
    others = {key: value for key, value in entries(given) if key not in derived}
    key = masked_key(others, masked, axes)
    images = masked_images(others.pop(key), key, axes)
    plain = Call(key, "as one argument" if outer else style, structure=structure, derived=derived)
    return images, others, plain


def masked_images(value: Any, key: Key, axes: int) -> Images:
    """The masked input, checked.

    Args:
        value: of the input.
        key: its index or name.
        axes: the number of axes of images, without batch and colour.

    Raises:
        SettingError: it is not a batch of real numbers.
    """
    images = tensor(value, f"The masked input {quoted(key)}")
    if not images.is_floating_point():
        raise SettingError(
            f"The masked input {quoted(key)} holds {images.dtype} numbers, which cannot be masked.",
            likely="It may be token ids, class numbers or raw pixels.",
            do="Mask an input of floating-point numbers, scorecam.open_model(net, "
            "masked_input=...); preprocess raw pixels first.",
        )
    if images.ndim < 2:
        raise SettingError(
            f"The masked input {quoted(key)} has the shape {tuple(images.shape)}; images have "
            f"{axes + 2} axes, the batch first.",
            likely="It may lack the batch axis.",
            do="Pass all inputs with a batch axis, even for one image; or name another input: "
            "scorecam.open_model(net, masked_input=...).",
        )
    return images


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
    plain: Call, images: Images, own: Collection[Key], others: Mapping[Key, Any]
) -> list[Call]:
    """A call for each image, with its own row of the inputs that belong to the images."""
    shared = {key: value for key, value in others.items() if key not in own}
    return [
        replace(plain, own={key: others[key][i : i + 1] for key in own}, shared=shared)
        for i in range(len(images))
    ]


def whole(plain: Call, others: Mapping[Key, Any]) -> Call:
    """A call with all images at once, and the other inputs unchanged."""
    return replace(plain, shared=dict(others))


def masked_key(found: Mapping[Key, Any], named: Key | None, axes: int) -> Key:
    """The index or name of the input that is masked.

    Args:
        found: all inputs.
        named: what the user gave, if anything.
        axes: the number of axes of images, without batch and colour.

    Raises:
        SettingError: there is no such input, or it is unclear which one is meant.
    """
    if named is not None:
        nested = [key for key in found if f".{key}".endswith(f".{named}")]
        matches = [named] if named in list(found) else nested
        if len(matches) == 1 and isinstance(found[matches[0]], Tensor):
            return matches[0]
        raise SettingError(
            f"masked_input={quoted(named)} is not among the inputs."
            if len(matches) < 2
            else f"masked_input={quoted(named)} may be {' or '.join(map(quoted, matches))}.",
            likely="" if matches else did_you_mean(named, map(str, found)),
            do=f"They are {', '.join(map(quoted, found))}.",
        )
    floats = {
        key: value.ndim
        for key, value in found.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    images = [key for key, count in floats.items() if count == axes + 2]
    images = images or [key for key, count in floats.items() if count == axes + 3]  # a video
    if len(images) == 1:
        return images[0]
    if found and not any(isinstance(value, Tensor) for value in found.values()):
        raise SettingError(
            f"There are no tensors among the inputs: {', '.join(map(quoted, found.values()))}.",
            do="Explain one photo at a time; pass several inputs of a network as tensors.",
        )
    raise SettingError(
        f"{len(images)} of the inputs could be the images to mask.",
        likely="An image may lack its batch axis." if not images else "",
        do="Name one: scorecam.open_model(net, masked_input=...), or --masked-input; they are "
        f"{', '.join(map(quoted, found))}.",
    )


def _with_derived(module: nn.Module, given: Any, derived: Derived) -> tuple[Any, Style]:
    """The structure of the inputs, those that are derived included, and how they are passed."""
    structure = template(given)
    for key in derived:
        if any(key == known for known, _ in entries(given)):
            continue
        if isinstance(structure, dict) and isinstance(key, str) and key in _parameters(module):
            structure[key] = Slot(key)
        elif isinstance(structure, list | tuple) and key == len(structure):
            structure = (*structure, Slot(key))
        else:
            known = [*dict(entries(given)), *(_parameters(module) if isinstance(key, str) else ())]
            raise SettingError(
                f"derived= has the input {quoted(key)}, which the network does not take.",
                likely=did_you_mean(str(key), map(str, known)),
                do=f"Name one of its inputs: {', '.join(map(quoted, dict.fromkeys(known)))}.",
            )
    return structure, _style(module, structure)


def _style(module: nn.Module, structure: Any) -> Style:
    """Whether the network takes its inputs in order, by these names, or all as one argument."""
    parameters = _parameters(module)
    kinds = {parameter.kind for parameter in parameters.values()}
    if isinstance(structure, dict):
        takes_any = inspect.Parameter.VAR_KEYWORD in kinds
        names = cast("dict[Any, Any]", structure).keys()
        return "by name" if takes_any or names <= set(parameters) else "as one argument"
    variadic = inspect.Parameter.VAR_POSITIONAL in kinds
    places = [
        parameter
        for parameter in parameters.values()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    single = len(places) == 1 and not variadic and len(cast("Sequence[Any]", structure)) > 1
    return "as one argument" if single else "in order"


def _parameters(module: nn.Module) -> Mapping[str, inspect.Parameter]:
    """The parameters of a network's `forward`; none if they cannot be read."""
    try:
        return inspect.signature(module.forward).parameters
    except (TypeError, ValueError):
        return {}
