"""Images of a task that adds inputs: each has its own ones, and is explained alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from scorecam.model.inputs import check_numbers
from scorecam.model.model import Inputs, Model, TargetSpec
from scorecam.scoring.banks import fitted_image
from scorecam.scoring.targets import one_per_image
from scorecam.shapes import Images


def fitted_alone(
    model: Model, x: Inputs, target: TargetSpec | Sequence[TargetSpec], *, run: bool
) -> Iterator[tuple[Images, Model, TargetSpec]]:
    """Each image with the model that takes it, for a task that adds inputs, and its target.

    Args:
        x: images, `b c *i`, or several inputs of one image.
        target: for all images, or a list with one per image.
        run: see `fitted_image`.
    """
    if isinstance(x, Tensor):
        check_numbers(x)
    images = x.split(1) if isinstance(x, Tensor) else [x]
    for image, own in zip(images, one_per_image(target, len(images)), strict=True):
        yield *fitted_image(model, image, own, run=run), own
