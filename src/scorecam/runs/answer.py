"""What is explained in a photo of a run: the column, and where its object is.

Without a task, it is a class. A task finds its columns in each photo, and the annotation says which
of them is explained.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TypeVar, cast

from scorecam.base.wording import quoted
from scorecam.datasets.sample import Thing
from scorecam.errors import TargetError
from scorecam.metrics.metric import Truth
from scorecam.model.model import Model, TargetSpec
from scorecam.model.task_columns import TaskColumns
from scorecam.runs.annotation import Annotation
from scorecam.runs.setup import Setup
from scorecam.scoring.banks import fitted_image
from scorecam.shapes import Image
from scorecam.tasks.detect.detections import intersection_over_union

AnyModel = TypeVar("AnyModel", bound=Model)

SAME_BOX = 0.5
"""A found box is the annotated object if their intersection over union is at least this."""

_NO_CLASS = Truth(why="The class of the photo is unknown, or the model does not have it.")
_OTHER_CLASS = Truth(why="The explained class is not the labelled one.")
_OTHER_BOX = Truth(why="The explained box is not an annotated object.")


class ObjectNotFound(TargetError):
    """A task finds nothing to explain in a photo, or not the annotated object.

    It is a result: the metrics of the photo are undefined, and the photo counts as not found.
    """


@dataclass(frozen=True, eq=False)
class Answer:
    """What is explained in a photo.

    Args:
        model: with the columns of the photo, if it has a task.
        target: the column.
        predicted: the prediction of a model that scores classes; with a task, the target.
        truth: where the object of the target is in the input.
        labelled: the column of the labelled class or object; None if that is unknown.
        thing: the annotated object that the target is, if the target is a box.
    """

    model: Model
    target: int
    predicted: int
    truth: Truth
    labelled: int | None = None
    thing: Thing | None = None

    @property
    def right(self) -> bool | None:
        """Whether the prediction is the label; None if that is unknown."""
        return None if self.labelled is None else self.predicted == self.labelled


def of_class(setup: Setup, annotation: Annotation, predicted: int) -> Answer:
    """The labelled class or the prediction, of a model that scores classes."""
    own = setup.column_of(annotation.sample.label)
    target = own if setup.target == "label" and own is not None else predicted
    truth = annotation.truth if own == target else _NO_CLASS if own is None else _OTHER_CLASS
    return Answer(setup.model, target, predicted, truth, labelled=own)


def of_task(setup: Setup, annotation: Annotation, image: Image) -> Answer:
    """What a task finds: the annotated object, or the task's own answer.

    Raises:
        ObjectNotFound: the task does not find it.
        ModelError, SettingError: the model fails, or does not fit the task.
    """
    own = setup.column_of(annotation.sample.label)
    name = None if own is None or setup.names is None else setup.names[own]
    try:
        model = for_photo(setup.model, image, name if setup.target == "label" else None)
    except TargetError as error:
        raise ObjectNotFound(error.what, likely=error.likely, do=error.do) from error
    found = model.task_columns
    assert found is not None  # noqa: S101  (the model has a task)
    if found.classes is not None:
        return _box(setup, annotation, model, found)
    labelled = found.names.index(name) if name in found.names else None
    if name is not None and setup.target == "label":
        labelled = found.column
    truth = _NO_CLASS if setup.columns else annotation.truth  # a number is about the whole photo
    if own is not None:
        truth = annotation.truth if labelled == found.column else _OTHER_CLASS
    return Answer(model, found.column, found.column, truth, labelled=labelled)


def for_photo(model: AnyModel, image: Image, target: TargetSpec = None) -> AnyModel:
    """The model with the columns that its task finds in a photo; itself without a task.

    Raises:
        TargetError: the task finds nothing to explain.
    """
    if model.task is None:
        return model
    return cast("AnyModel", fitted_image(model, image, target, run=False)[1])


# ── boxes ────────────────────────────────────────────────────────────────────────────────────


def _box(setup: Setup, annotation: Annotation, model: Model, found: TaskColumns) -> Answer:
    """The box of the annotated object, or the task's own answer."""
    sample, own = annotation.sample, setup.column_of(annotation.sample.label)
    kinds = [index for index, _ in found.classes or ()]
    searched = setup.target == "label" and own is not None
    columns = [i for i, kind in enumerate(kinds) if kind == own] if searched else [found.column]
    wanted = own if searched else kinds[found.column]
    things = [each for each in sample.things or () if setup.column_of(each.label) == wanted]
    if searched and not things:  # no boxes in the annotation: the best box of the class
        return _labelled_box(model, found, columns, annotation)
    pair = _best_pair(found, columns, things, annotation)
    if pair is not None:
        column, thing = pair
        labelled = column if wanted == own else None
        fixed = model.with_columns(dataclasses.replace(found, column=column))
        truth = annotation.truth_of(thing)
        return Answer(fixed, column, column, truth, labelled=labelled, thing=thing)
    if searched:
        raise ObjectNotFound(
            f"No box of the class {quoted(sample.label)} overlaps the annotated object with an "
            f"intersection over union of at least {SAME_BOX}.",
            likely=f"The task found {len(columns)} boxes of this class.",
            do="A lower threshold= (--threshold) finds more.",
        )
    why = _NO_CLASS if own is None else _OTHER_BOX
    return Answer(model, found.column, found.column, why)


def _labelled_box(
    model: Model, found: TaskColumns, columns: list[int], annotation: Annotation
) -> Answer:
    """The first box of the labelled class, which is the most probable one."""
    if not columns:
        raise ObjectNotFound(
            f"No box of the class {quoted(annotation.sample.label)} was found.",
            do="A lower threshold= (--threshold) finds more.",
        )
    column = columns[0]
    fixed = model.with_columns(dataclasses.replace(found, column=column))
    return Answer(fixed, column, column, annotation.truth, labelled=column)


def _best_pair(
    found: TaskColumns, columns: list[int], things: list[Thing], annotation: Annotation
) -> tuple[int, Thing] | None:
    """The found box and the annotated object that overlap most, if they overlap by enough."""
    if found.boxes is None or not columns or not things or not annotation.placed:
        return None
    annotated = annotation.in_input([thing.box for thing in things])
    shared = intersection_over_union(annotated, found.boxes[columns].cpu())
    best = int(shared.argmax())
    if float(shared.flatten()[best]) < SAME_BOX:
        return None
    row, place = divmod(best, len(things))
    return columns[row], things[place]
