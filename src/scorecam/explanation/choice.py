"""Which targets of an image are shown together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from scorecam.bank.bank import ScoreBank
from scorecam.errors import SettingError
from scorecam.explanation.words import words_for
from scorecam.io.arguments import several

MOST_TARGETS: Final = 8
"""The targets of a picture, if the user does not choose them."""

MOST_TOKENS: Final = 48
"""The same for tokens, which are read together."""


def chosen_targets(bank: ScoreBank, targets: Sequence[int | str] | None) -> tuple[list[int], str]:
    """The columns of these targets, and a sentence on those that are left out by default.

    Args:
        targets: indices or names; None for the largest columns, or for the tokens in order.

    Raises:
        TargetError: there is no such column.
        SettingError: there is no target.
    """
    if targets is not None:
        do = "Give a list of indices or names, or None for the default."
        given = several("targets", [targets] if isinstance(targets, str) else targets, object, do)
        if not given:
            raise SettingError("There is no target to draw.", do=do)
        return [bank.target(cast("int | str", target)).index for target in given], ""
    words = words_for(bank.provenance.task)
    columns = ordered(bank)
    if words.in_order and len(columns) > 1:
        columns = [column for column in columns if column]  # column 0 is the whole text
    most = MOST_TOKENS if words.in_order else MOST_TARGETS
    if len(columns) <= most:
        return columns, ""
    which = "the first ones" if words.in_order else f"those with the largest {words.score}s"
    return columns[:most], f"{most} of {len(columns):,} {words.many} are shown, {which}."


def ordered(bank: ScoreBank) -> list[int]:
    """The columns that a bank can explain: tokens in their order, others by their score."""
    kept = range(len(bank.image_scores)) if bank.columns is None else bank.columns.tolist()
    if words_for(bank.provenance.task).in_order:
        return sorted(kept)
    return sorted(kept, key=bank.image_scores.tolist().__getitem__, reverse=True)
