"""Whether the sides of a comparison have the same classes, in the same order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from scorecam.base.wording import excerpt
from scorecam.datasets.sample import Dataset
from scorecam.errors import ModelError
from scorecam.model.model import Model
from scorecam.runs.compare.sides import Candidate, Side
from scorecam.runs.start import first_image

Classes: TypeAlias = tuple[str | None, ...]
"""The classes of a model by name; None for a class without a name."""


def classes_of(model: Model, photos: Dataset, layer: str | None) -> Classes:
    """The classes of a model. Without names, the first photo's scores give their number.

    Raises:
        PhotoError, DatasetError, LayerError, ModelError: as for `first_image`.
    """
    image, _, form = first_image(model, photos, layer)
    if model.names is not None:
        return model.names
    if model.task is not None:
        return ()  # its columns differ from photo to photo
    return (None,) * len(model.with_form(form).scores(image[None])[0])


def check_classes(classes: Sequence[Classes], candidate: Candidate) -> None:
    """Compare the last side's classes with the first side's, by number and, if known, by name.

    Raises:
        ModelError: they differ.
    """
    first, last = classes[0], classes[-1]
    if len(first) != len(last):
        raise _other_classes(candidate, f"{len(first)} and {len(last)} classes")
    for place, (one, other) in enumerate(zip(first, last, strict=True)):
        if None not in (one, other) and one != other:
            raise _other_classes(candidate, _other_name(place, one, other))


def check_records(first: Side, other: Side) -> None:
    """Compare the class names in the records of two runs, whose models are not available.

    Raises:
        ModelError: a column has two names.
    """
    known = dict(_named(first))
    conflicts = [(place, name) for place, name in _named(other) if known.get(place, name) != name]
    if conflicts:
        place, name = min(conflicts)
        raise _other_classes(other.candidate, _other_name(place, known[place], name))


def _named(side: Side) -> Iterator[tuple[int, str]]:
    for record in side.records.values():
        for score in (record.target, record.predicted):
            if score.name is not None:
                yield score.index, score.name


def _other_name(place: int, one: str | None, other: str | None) -> str:
    names = f"{excerpt(repr(one), 60)} and {excerpt(repr(other), 60)}"
    return f"column {place} is named {names}"


def _other_classes(candidate: Candidate, what: str) -> ModelError:
    return ModelError(
        f"{candidate.text} and the first model have different classes ({what}).",
        likely="Their class lists may be in different orders.",
        do="Give each model its own labels= (--labels), or compare other models.",
    )
