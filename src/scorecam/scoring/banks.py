"""From inputs and targets, as users give them, to banks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from scorecam.bank.bank import ScoreBank
from scorecam.base.wording import quoted
from scorecam.errors import TargetError
from scorecam.model.inputs import is_several, one_image, one_of_several
from scorecam.model.model import Inputs, Model, TargetSpec
from scorecam.model.place import is_place
from scorecam.model.readout import Readout
from scorecam.model.target import check_target
from scorecam.scoring.progress import OnProgress
from scorecam.scoring.score import score
from scorecam.settings import Settings
from scorecam.shapes import Images


def make_bank(
    model: Model,
    image: Inputs,
    target: TargetSpec = None,
    *,
    layer: str | nn.Module | None,
    settings: Settings,
    progress: OnProgress | None = None,
) -> ScoreBank:
    """The bank of one image.

    Args:
        image: `c *i` or `1 c *i`, preprocessed; or several inputs with a batch of one.
        target: the class to explain; or a function of the output, which is scored instead of the
            model's own columns.
        layer: its name or the module; None for the default.
        progress: called as masked images are scored.
    """
    images, model = fitted_image(model, image, target, run=layer is None)
    [bank] = make_banks(model, images, [target], layer=layer, settings=settings, progress=progress)
    return bank


def fitted_image(
    model: Model, image: Inputs, target: TargetSpec, *, run: bool
) -> tuple[Images, Model]:
    """The image as a batch of one, `1 c *i`, and the model that takes it and gives the target.

    Args:
        image, target: see `make_bank`.
        run: whether the model may run to find the axes of the image.
    """
    if callable(target):
        model = with_target(model, target)
    else:
        check_target(model, column_of(model, target))  # before the model may run
    if model.task is not None and model.task_columns is None:
        model, image = model.task.prepared(model, image)
    if is_several(image):
        images, model = one_of_several(image, model, run=run)
    else:
        images, model = one_image(image, model, run=run)
    return images, model.for_image(images, target)


def make_banks(
    model: Model,
    images: Images,
    targets: Sequence[TargetSpec],
    *,
    layer: str | nn.Module | None,
    settings: Settings,
    progress: OnProgress | None = None,
) -> list[ScoreBank]:
    """A bank for each image.

    Args:
        images: `b c *i`, preprocessed.
        targets: one per image: classes, or the same function for all of them.
    """
    if callable(targets[0]):
        model = with_target(model, targets[0])
    columns = [column_of(model, target) for target in targets]
    for column in columns:
        check_target(model, column)
    name = model.find_layer(layer, images)
    return score(model, images, columns, layer=name, settings=settings, progress=progress)


def column_of(model: Model, target: TargetSpec) -> int | str | None:
    """The column of a model that a target means, by index or name; None for the prediction.

    Raises:
        TargetError: it is a place in the picture, and the model has no task that knows places.
    """
    if callable(target):
        return None
    if model.task_columns is not None:
        return model.task_columns.column
    if model.task is not None:
        return None  # not known before the task has seen the image
    if is_place(target):
        raise TargetError(
            f"The target {quoted(target)} is a place in the picture, and the model scores classes.",
            do="Give a task that knows places, detect or segment, with task= (--task); or else a "
            "class name or an index.",
        )
    return cast("int | str | None", target)


def with_target(model: Model, target: Readout) -> Model:
    """The model with a target function in place of its readout."""
    return model.with_readout(_OneNumber(target))


@dataclass(frozen=True)
class _OneNumber:
    """A user's target function, which must return one number per image.

    Two wrappers of the same function are equal.
    """

    readout: Readout

    @property
    def __name__(self) -> str:
        return getattr(self.readout, "__name__", "readout")

    def __call__(self, output: Any) -> Tensor:
        numbers = self.readout(output)
        if isinstance(numbers, Tensor) and numbers.ndim > 1 and numbers[:1].numel() != 1:
            raise TargetError(
                f"The target function returned the shape {tuple(numbers.shape)}; a target is one "
                "number per image.",
                do="Choose one column in it, for example `lambda output: output[:, 3]`.",
            )
        return numbers
