"""The column of the model for each class of a data set."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from scorecam.base.wording import excerpt
from scorecam.datasets.formats.building import listed
from scorecam.datasets.formats.ground_truth import WNID
from scorecam.datasets.sample import Label
from scorecam.errors import did_you_mean
from scorecam.model.labels import imagenet_wnids


@dataclass(frozen=True)
class Columns:
    """The columns of a data set's classes.

    Args:
        found: the column of each class that the model has.
        unknown: the classes that the model does not have.
        remarks: what the user should know about the assignment.
    """

    found: dict[Label, int]
    unknown: tuple[Label, ...]
    remarks: tuple[str, ...] = ()


def columns_of(classes: Sequence[Label], names: Sequence[str] | None, columns: int) -> Columns:
    """The model's column for each class of a data set, where it has one.

    Numbers are columns. Text is looked up among the model's names, ignoring case and with `_` for
    a space; then, for a model with 1,000 columns, among ImageNet's WordNet ids; then read as a
    number. If the model has no names, no class is found in these ways, and there are as many
    classes as columns, then classes are assigned in sorted order, as by torchvision's ImageFolder.

    Args:
        classes: as in `Dataset.classes`.
        names: one for each column; None if the model has no names.
        columns: the number of columns of the model.
    """
    by_name: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names or ()):
        by_name[_folded(name)].append(index)
    wnids = {wnid: i for i, wnid in enumerate(imagenet_wnids())} if columns == 1000 else {}
    found: dict[Label, int] = {}
    for label in classes:
        column = _column(label, by_name, wnids)
        if column is not None and 0 <= column < columns:
            found[label] = column
    words = sorted(label for label in classes if isinstance(label, str))
    if not found and not names and len(words) == len(classes) == columns:
        remark = (
            "The model has no class names: the data set's classes are assigned in sorted order."
        )
        return Columns({label: i for i, label in enumerate(words)}, (), (remark,))
    unknown = tuple(label for label in classes if label not in found)
    remarks = [*_numbers(found, words, by_name), *_unknown_remark(unknown, classes, names, by_name)]
    return Columns(found, unknown, tuple(remarks))


def _column(label: Label, by_name: dict[str, list[int]], wnids: dict[str, int]) -> int | None:
    if isinstance(label, int):
        return label
    named = by_name.get(_folded(label), [])
    if named:
        return named[0] if len(named) == 1 else None
    if WNID.fullmatch(label):
        return wnids.get(label)
    return int(label) if re.fullmatch(r"[0-9]{1,9}", label) else None


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _numbers(found: dict[Label, int], words: list[str], by_name: dict[str, list[int]]) -> list[str]:
    """A remark if numeric names sort differently as numbers than as text: "10" before "2"."""
    spelled = [word for word in words if word in found and word.isdecimal()]
    spelled = [word for word in spelled if _folded(word) not in by_name]
    columns = [found[word] for word in spelled]
    if columns == sorted(columns):
        return []
    return ["Numeric class names are used as column numbers, not in sorted order."]


def _unknown_remark(
    unknown: Sequence[Label],
    classes: Sequence[Label],
    names: Sequence[str] | None,
    by_name: dict[str, list[int]],
) -> list[str]:
    if not unknown:
        return []
    words = listed([str(label) for label in unknown])
    parts = [f"{len(unknown):,} of {len(classes):,} classes are not classes of the model: {words}."]
    if not names:
        parts.append("The model has no class names.")
    ambiguous = [
        label
        for label in unknown
        if isinstance(label, str) and len(by_name.get(_folded(label), [])) > 1
    ]
    if ambiguous:
        parts.append(f"Several classes of the model are named {excerpt(repr(ambiguous[0]), 60)}.")
    elif names and (hint := did_you_mean(excerpt(unknown[0]).replace("_", " "), names)):
        parts.append(hint)
    return [" ".join(parts)]
