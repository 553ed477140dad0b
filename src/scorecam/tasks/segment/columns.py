"""The columns of one image: every predicted class, and the place that the user wants to explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch

from scorecam.base.wording import excerpt, quoted
from scorecam.errors import SettingError, TargetError
from scorecam.model.model import TargetSpec
from scorecam.model.place import Place, is_place
from scorecam.model.target import find_target
from scorecam.tasks.segment.predicted import Predicted, Region, region_of

BACKGROUNDS = {"background", "__background__", "_background_", "bg", "unlabeled", "unlabelled"}
"""Names of the class of what is no object."""


@dataclass(frozen=True, eq=False)
class Column:
    """A class in a region.

    Args:
        name: of both.
        label: the class.
        region: where its probability is averaged.
    """

    name: str
    label: int
    region: Region


@dataclass(frozen=True)
class Columns:
    """All columns.

    Args:
        columns: one per predicted class, the largest first; then that of a place.
        chosen: the number of the one that the user means.
        remark: on a choice; often empty.
    """

    columns: tuple[Column, ...]
    chosen: int
    remark: str = ""


def columns_for(
    seen: Predicted, names: Sequence[str], target: TargetSpec, label: int | str | None
) -> Columns:
    """The columns of an image.

    Args:
        names: of all classes.
        target: a class, a checked place, or None.
        label: the class to score in the region of the target; None for the region's own.

    Raises:
        TargetError: nothing is predicted, or not the class that is the target.
    """
    known = tuple(Column(names[each], each, mask) for each, mask in seen.regions.items())
    scored = None if label is None else _class(label, names)
    if is_place(target):
        return _of_place(seen, names, target, scored, known=known)
    wanted = cast("int | str | None", label if target is None else target)
    number = _default(seen) if wanted is None else _class(wanted, names)
    if number not in seen.regions:
        raise _not_predicted(names[number], [column.name for column in known])
    order = list(seen.regions).index(number)
    if scored is None or scored == number:
        return Columns(known, order)
    name = f"{names[scored]} in the region of {names[number]}"
    return _with(known, Column(name, scored, seen.regions[number]), "")


def _class(label: int | str, names: Sequence[str]) -> int:
    return find_target(label, torch.zeros(len(names)), names, "value").index


def _default(seen: Predicted) -> int:
    if not seen.regions:
        raise TargetError(
            "No class has a probability above a half in any pixel.",
            do="Give a place: a point, a box or a mask; or the class to score there with "
            "Segment(label=...) (--label).",
        )
    return seen.objects[0]


def _not_predicted(name: str, predicted: Sequence[str]) -> TargetError:
    return TargetError(
        f"The class {quoted(name)} is predicted in no pixel of this image.",
        do=f"Predicted are {excerpt(', '.join(predicted), 200) or 'none'}. To score another class "
        "in a region, give the place as the target and the class with Segment(label=...) "
        "(--label).",
    )


def _of_place(
    seen: Predicted,
    names: Sequence[str],
    place: Place,
    scored: int | None,
    *,
    known: tuple[Column, ...],
) -> Columns:
    region, words = region_of(place, seen.size)
    shares = seen.shares(region)
    found = [each for each, share in shares.items() if share > 0]
    objects = [each for each in found if each != seen.background] or found
    remark = ""
    if scored is None:
        scored = objects[0] if objects else seen.likeliest(region)
        if len(found) > 1:
            listed = ", ".join(f"{names[each]} {shares[each]:.0%}" for each in found[:4])
            remark = (
                f"Predicted in the region are {listed}: {names[scored]} was explained. "
                "Segment(label=...) (--label) chooses."
            )
    return _with(known, Column(f"{names[scored]} {words}", scored, region), remark)


def _with(known: tuple[Column, ...], column: Column, remark: str) -> Columns:
    """The columns with one more, which is chosen."""
    taken = {each.name for each in known}
    while column.name in taken:
        column = replace(column, name=f"{column.name} again")
    return Columns((*known, column), len(known), remark)


# ── names ────────────────────────────────────────────────────────────────────────────────────────


def class_names(known: Sequence[str] | None, classes: int, *, single: bool) -> tuple[str, ...]:
    """A name for each class, each of them different.

    Args:
        known: those of the model.
        classes: their number; two for a single map.
        single: whether the output has a single map.

    Raises:
        SettingError: there are more or fewer names than classes.
    """
    if known is None:
        numbered = tuple(f"class {number}" for number in range(classes))
        return ("background", "foreground") if single else numbered
    names = ("background", *known) if single and len(known) == 1 else tuple(known)
    if len(names) != classes:
        raise SettingError(
            f"There are {len(known)} class names, but the output has {classes} class maps.",
            likely="The names may belong to another model, or the background has no name.",
            do="Give one name per class with labels= (--labels), in the model's order.",
        )
    twice = {name for name in names if names.count(name) > 1}
    return tuple(
        f"{name} (class {number})" if name in twice else name for number, name in enumerate(names)
    )


def background_of(names: Sequence[str], *, named: bool, single: bool) -> int | None:
    """The class of what is no object: by its name; the first of two classes without names.

    Args:
        named: whether the user gave the names.
        single: whether the output has a single map.
    """
    if single or (not named and len(names) == 2):
        return 0
    found = [i for i, name in enumerate(names) if name.strip().casefold() in BACKGROUNDS]
    return found[0] if found else None
