"""The columns of scores: what a single column stands for, and which is the prediction."""

from __future__ import annotations

from typing import Literal, cast, get_args

import torch
from torch import Tensor

from scorecam.cam import Head
from scorecam.io.arguments import choice
from scorecam.shapes import BatchedScores, Columns


def reduced(scores: BatchedScores, columns: Tensor, head: Head) -> BatchedScores:
    """These columns; for logits one more, which holds the others' probability together."""
    if head != "logits" or len(columns) == scores.shape[1]:
        return scores[:, columns]
    others = torch.ones(scores.shape[1], dtype=torch.bool, device=scores.device)
    others[columns] = False
    rest = scores[:, others].logsumexp(dim=1, keepdim=True)
    return torch.cat([scores[:, columns], rest], dim=1)


def check_head(head: str) -> Head | Literal["auto"]:
    """`head`, if it is one.

    Raises:
        SettingError: it is not.
    """
    known: tuple[Head | Literal["auto"], ...] = ("auto", *get_args(Head))
    return cast("Head | Literal['auto']", choice("head", head, known))


SIDES = "negative", "positive"
"""The columns of a yes-or-no answer without names of its own, in the order of class lists."""

POSITIVE = 1
"""The column of a yes-or-no answer that a positive logit speaks for."""


def two_sided(scores: BatchedScores, head: Head) -> BatchedScores:
    """A single column of a yes-or-no model as two, in the order of class lists: no, then yes.

    Anything else, and a single value, stays as it is.
    """
    if scores.shape[1] != 1 or head == "value":
        return scores
    against = 1 - scores if head == "probabilities" else -scores
    return torch.cat([against, scores], dim=1)


def two_names(names: tuple[str, ...] | None, columns: int, head: Head) -> tuple[str, ...] | None:
    """The names of the columns that `two_sided` makes of `columns`, where there are any."""
    if columns != 1:
        return names
    if head == "value":
        return names or ("value",)
    if names is None:
        return SIDES
    # Two names come as in class lists: class 1 is the one that a positive logit speaks for.
    return names if len(names) == 2 else (f"not {names[0]}", names[0])


def prediction(scores: Columns, head: Head | Literal["auto"]) -> int:
    """The column that is explained where none is asked for, before the head is known.

    The largest of several. Of a single column, which `two_sided` makes two of, the positive side.

    Args:
        scores: the model's answer to the unmasked image, `n`.
        head: as declared.
    """
    if len(scores) == 1 and head != "value":
        return POSITIVE
    return int(scores.argmax())
