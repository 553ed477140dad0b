"""Targets on the command line: a class, or a place in the photo if the model has a task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scorecam.base.wording import quoted
from scorecam.errors import TargetError

if TYPE_CHECKING:  # imported when a command runs: --help must not wait for torch
    from scorecam.bank.bank import ScoreBank
    from scorecam.explanation.explanation import Explanation
    from scorecam.model.model import Model, TargetSpec
    from scorecam.model.place import Place
    from scorecam.model.task_columns import TaskColumns

MASK_FILES = (".bmp", ".gif", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Files of masks, by the ends of their names."""


def check_names(model: Model, targets: list[str | None]) -> None:
    """Refuse a misspelt class before anything is computed. A task has its own names.

    Raises:
        TargetError: there is no such class.
    """
    from scorecam.model.target import check_target

    if model.task is None:
        for target in targets:
            check_target(model, target)


def read_target(text: str | None, model: Model, photo: str) -> TargetSpec:
    """A target as the library takes it.

    Args:
        text: a name or an index. If the model has a task, also a place in the photo: a point
            `120,80`, a box `x1,y1,x2,y2`, or a file with a mask.
        photo: the file; a mask must have its size.

    Raises:
        TargetError: the mask cannot be read, or does not have the size of the photo.
    """
    from scorecam.io.ranges import parse_reals

    if text is None or model.task is None:
        return text
    if text.lower().endswith(MASK_FILES):
        return _mask(Path(text), Path(photo))
    numbers = parse_reals(text) if "," in text else None
    return text if numbers is None else numbers


def of_target(explanation: Explanation, model: Model, target: TargetSpec) -> Explanation:
    """The explanation of another target, read from the bank.

    A task runs the model once to find the column.

    Raises:
        TargetError: there is no such target, or its column is not in the bank.
    """
    if target is None or model.task is None or explanation.image is None:
        return explanation.of(target)  # type: ignore[arg-type]
    from scorecam.model.place import is_place, place_in_input

    wanted = target
    if is_place(target) and explanation.photo is not None and explanation.preprocess is not None:
        wanted = place_in_input(target, explanation.preprocess, explanation.photo.size)
    fitted = model.with_form(explanation.form)
    image = explanation.image[None].to(model.device)
    found = fitted.for_image(image, wanted).task_columns
    assert found is not None  # noqa: S101  (the model has a task)
    name = found.names[found.column]
    if not _is_in(explanation.bank, found):
        raise TargetError(
            f"The target {quoted(_in_words(target))} is {quoted(name)}, which was not scored with "
            "the first target.",
            likely="The task makes a column for each place.",
            do="Explain it in a command of its own, with another --out.",
        )
    return explanation.of(name)


def _is_in(bank: ScoreBank, found: TaskColumns) -> bool:
    """Whether the chosen column is in a bank, by its name and place."""
    import torch

    names, name = bank.names or (), found.names[found.column]
    if name not in names:
        return False
    index = names.index(name)
    for own, other in ((bank.boxes, found.boxes), (bank.masks, found.masks)):
        if own is None or other is None:
            continue
        if not torch.equal(own[index].cpu(), other[found.column].cpu()):
            return False
    return True


def _mask(file: Path, photo: Path) -> Place:
    from scorecam.datasets.formats.masks import read_masks
    from scorecam.errors import DatasetError

    try:
        return read_masks([file], photo)
    except DatasetError as error:
        raise TargetError(error.what, likely=error.likely, do=error.do) from error


def _in_words(target: TargetSpec) -> str:
    if isinstance(target, tuple):
        return ",".join(f"{number:g}" for number in target)
    return str(target) if isinstance(target, str | int) else "of the mask"
