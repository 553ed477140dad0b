"""Names of labels, as users give them for one head or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from scorecam.base.wording import quoted
from scorecam.errors import SettingError
from scorecam.tasks.column_names import parse_names
from scorecam.tasks.multilabel.heads import LabelHead

Names = Mapping[str, tuple[str, ...]] | tuple[str, ...] | None
"""Names by head, or those of all heads in order."""


def parse_label_names(names: Any) -> Names:
    """Names as users give them.

    Args:
        names: one per label, in a list or a text with commas; or a dict with the names of each
            head, also as a text: "colour: red, green; shape: round, square".

    Raises:
        SettingError: they are none of these.
    """
    if isinstance(names, str) and ":" in names:
        pairs = [part.partition(":") for part in names.split(";")]
        names = {head.strip(): labels for head, _, labels in pairs}
    if not isinstance(names, Mapping):
        return parse_names(names)
    given = cast("Mapping[Any, Any]", names)
    if not all(isinstance(head, str) for head in given):
        raise SettingError(
            f"names={quoted(names)} has a head without a name.",
            do="Give the names of each head, such as names={'colour': ('red', 'green')}.",
        )
    return {head: parse_names(labels) or () for head, labels in given.items()}


def column_names(
    names: Names, heads: Sequence[LabelHead], of_model: Sequence[str] | None
) -> tuple[str, ...]:
    """The name of each column: "red", or "colour: red" if there are several heads.

    Args:
        of_model: the names that the model has, if any; used if there are as many as columns.

    Raises:
        SettingError: the names do not fit the heads.
    """
    count = sum(head.labels for head in heads)
    if names is None and of_model is not None and len(of_model) == count:
        names = tuple(of_model)
    if isinstance(names, tuple):
        names = _by_head(names, heads)
    if unknown := set(names or {}) - {head.name for head in heads}:
        known = ", ".join(quoted(head.name) for head in heads if head.name) or "one without a name"
        raise SettingError(
            f"names= has labels of a head {quoted(min(unknown))}.",
            do=f"The model has {known}. Give the names of the labels of each head.",
        )
    return tuple(name for head in heads for name in _of_head(head, (names or {}).get(head.name)))


def _by_head(names: tuple[str, ...], heads: Sequence[LabelHead]) -> dict[str, tuple[str, ...]]:
    """The names of all labels, split among the heads."""
    counts = [head.labels for head in heads]
    if len(names) != sum(counts):
        raise SettingError(
            f"names= has {len(names)} names, and the model has {sum(counts)} labels"
            f"{'' if len(counts) == 1 else f' in {len(counts)} heads'}.",
            do="Give one name per label, in the model's order.",
        )
    ends = [sum(counts[: i + 1]) for i in range(len(counts))]
    return {
        head.name: names[end - head.labels : end] for head, end in zip(heads, ends, strict=True)
    }


def _of_head(head: LabelHead, labels: tuple[str, ...] | None) -> tuple[str, ...]:
    if labels is not None and len(labels) != head.labels:
        raise SettingError(
            f"names= has {len(labels)} names for {quoted(head.name)}, which has {head.labels} "
            "labels.",
            do="Give one name per label, in the model's order.",
        )
    if head.name:
        return tuple(f"{head.name}: {label}" for label in labels or range(head.labels))
    return labels or tuple(f"label {i}" for i in range(head.labels))
