"""Names of columns that users give, and the column that a target means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scorecam.base.wording import quoted
from scorecam.errors import SettingError, TargetError, did_you_mean
from scorecam.io.arguments import several
from scorecam.model.model import TargetSpec
from scorecam.model.place import is_place
from scorecam.model.target import find_target
from scorecam.shapes import Columns

LONGEST_NAME = 200
"""The most characters of a name."""


def parse_names(names: Any) -> tuple[str, ...] | None:
    """Names as users give them: a list, or a text with commas between them.

    Raises:
        SettingError: they are not names, or two are equal.
    """
    if names is None:
        return None
    do = 'Give a name per column with names=, such as names=("left", "right").'
    given = names.split(",") if isinstance(names, str) else several("names", names, str, do)
    found = tuple(name.strip() for name in given)
    if not all(0 < len(name) <= LONGEST_NAME for name in found):
        raise SettingError(f"names={quoted(names)} has an empty or a very long name.", do=do)
    if repeated := {name for name in found if found.count(name) > 1}:
        raise SettingError(f"names= has {quoted(min(repeated))} more than once.", do=do)
    return found


def column_index(target: TargetSpec, scores: Columns, names: Sequence[str], default: int) -> int:
    """The column that a target means.

    Args:
        scores: of the unmasked image, `n`.
        default: without a target.

    Raises:
        TargetError: there is no such column, or the target is a place in the picture.
    """
    if target is None:
        return default
    advice = f"Give a name or an index with target= (--target): {', '.join(names[:10])}"
    advice += ", …" if len(names) > 10 else ""
    if is_place(target):
        raise TargetError(
            f"The target {quoted(target)} is a place in the picture; the columns have names.",
            do=advice,
        )
    try:
        return find_target(target, scores, names, "value").index  # type: ignore[arg-type]
    except TargetError as error:
        parts = [part for name in names for part in (name, *name.split(": "))]
        folded = [part.casefold() for part in parts]
        if not isinstance(target, str) or target.strip().casefold() in folded:
            raise  # it is out of range, or means several columns
        likely = did_you_mean(target, parts)
        raise TargetError(f"No column is called {quoted(target)}.", likely=likely, do=advice) from (
            error
        )
