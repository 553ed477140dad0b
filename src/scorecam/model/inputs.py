"""Checks of the tensors that users pass as inputs of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from torch import Tensor

from scorecam.errors import SettingError
from scorecam.io.arguments import tensor
from scorecam.model.model import Model
from scorecam.shapes import Images


def is_several(x: Any) -> TypeGuard[Mapping[str, Tensor] | Sequence[Tensor]]:
    """Whether this is several inputs, by name or in order, rather than one input or a string."""
    return isinstance(x, Mapping | Sequence) and not isinstance(x, str | bytes | bytearray | range)


def one_image(image: Any, model: Model, *, run: bool = True) -> tuple[Images, Model]:
    """An image, usually `c *i` or `1 c *i`, as a batch of one, and the model that takes it.

    Args:
        run: whether the model may run to find the axes of the image.
    """
    x, model = fitted(image, model, single=True, run=run)
    _check_one(x)
    return x, model


def _check_one(images: Images, likely: str = "") -> None:
    if len(images) != 1:
        raise SettingError(
            f"One image was expected, not {len(images)}.",
            likely=likely,
            do="For several, use scorecam.ScoreCAM(model)(x).",
        )


def fitted(x: Any, model: Model, *, single: bool, run: bool) -> tuple[Images, Model]:
    """The images in a user's tensor, `b c *i`, and the model that takes them; see `Model.fitted`.

    Raises:
        SettingError: it holds no images that the model can take.
    """
    tensor(x)
    if single and x.ndim == model.axes + 1 and not x.is_floating_point():
        x = x[None]  # for the error
    if x.ndim > 0 and x.is_floating_point() and 0 not in x.shape:
        check_numbers(x)
        x, model = model.fitted(x, single=single, run=run)
    return check_batch(x, model), model


def one_of_several(
    inputs: Mapping[str, Tensor] | Sequence[Tensor], model: Model, *, run: bool = True
) -> tuple[Images, Model]:
    """The image in several inputs with a batch of one, and the model that takes it.

    Args:
        run: as for `one_image`.
    """
    images, models = model.split_inputs(inputs)
    check_numbers(images)
    _check_one(images, "It may lack its batch axis." if images.ndim == model.axes + 1 else "")
    models = model.confirmed(inputs, models)
    return fitted(images, models[0], single=False, run=run)


def check_batch(x: Any, model: Model) -> Images:
    """The images, if they are a batch that the model can take."""
    tensor(x)
    if 0 not in x.shape and x.ndim != model.axes + 2:
        raise _wrong_axes(x, model.axes)
    check_numbers(x)
    return x


def check_numbers(x: Tensor) -> None:
    """Refuse a tensor that is empty, or holds something else than finite floating-point numbers."""
    if 0 in x.shape:
        raise SettingError(
            f"The input has the shape {tuple(x.shape)}: it is empty.",
            likely="The filter or the slice that made it found nothing.",
            do="Give at least one image with at least one pixel.",
        )
    if not x.is_floating_point():
        raise SettingError(
            f"The input holds {x.dtype} numbers.",
            likely="It may be raw pixels.",
            do="Preprocess it as the model expects, or give a photo and a preprocess.",
        )
    if not x.isfinite().all():
        raise SettingError("The input holds NaN or infinity.", do="Check how it was preprocessed.")


def _wrong_axes(x: Tensor, axes: int) -> SettingError:
    """The error for an input of the wrong shape; the model's images have `axes` axes."""
    letters = {1: "b c l", 2: "b c h w", 3: "b c d h w"}[axes]
    what = (
        f"The input has the shape {tuple(x.shape)}, so {x.ndim} axes; the model's convolutions "
        f"take {axes + 2} ({letters}: images, colours, then the image's own axes)."
    )
    if x.ndim == axes + 1:
        return SettingError(
            what, likely="A single image lacks the batch axis.", do="Give x[None] for one image."
        )
    if x.ndim == axes + 3:
        return SettingError(
            what,
            likely="It may be a video (b t c h w), and the network takes single frames."
            if axes == 2
            else "It may hold several images each.",
            do="Explain one at a time: x[:, t].",
        )
    return SettingError(
        what,
        likely="It may be flattened, or not be images at all.",
        do=f"Give a tensor with the axes {letters}.",
    )
