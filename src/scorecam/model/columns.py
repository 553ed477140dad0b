"""The columns of scores: the two sides of a single column, and the prediction."""

from __future__ import annotations

from typing import Literal, cast, get_args

import torch
from torch import Tensor

from scorecam.cam import Head
from scorecam.io.arguments import choice
from scorecam.shapes import BatchedScores, Columns


def reduced(scores: BatchedScores, columns: Tensor, head: Head) -> BatchedScores:
    """These columns; for logits one more, with the combined probability of the others."""
    if head != "logits" or len(columns) == scores.shape[1]:
        return scores[:, columns]
    rest_columns = torch.ones(scores.shape[1], dtype=torch.bool, device=scores.device)
    rest_columns[columns] = False
    rest = scores[:, rest_columns].logsumexp(dim=1, keepdim=True)
    return torch.cat([scores[:, columns], rest], dim=1)


def check_head(head: str) -> Head | Literal["auto"]:
    """`head`, if it is valid.

    Raises:
        SettingError: it is not valid.
    """
    known: tuple[Head | Literal["auto"], ...] = ("auto", *get_args(Head))
    return cast("Head | Literal['auto']", choice("head", head, known))


SIDES = "negative", "positive"
"""The names of the columns of a yes-or-no model without class names."""

POSITIVE = 1
"""The column of a yes-or-no model whose score grows with the logit."""


def two_sided(scores: BatchedScores, head: Head) -> BatchedScores:
    """The single column of a yes-or-no model as two, in the order of class lists: no, then yes.

    Several columns, and a single value, stay as they are.
    """
    if scores.shape[1] != 1 or head == "value":
        return scores
    negative = 1 - scores if head == "probabilities" else -scores
    return torch.cat([negative, scores], dim=1)


def two_names(names: tuple[str, ...] | None, columns: int, head: Head) -> tuple[str, ...] | None:
    """The names of the columns after `two_sided`, if there are any."""
    if columns != 1:
        return names
    if head == "value":
        return names or ("value",)
    if names is None:
        return SIDES
    # As in class lists, the second name is that of a positive logit.
    return names if len(names) == 2 else (f"not {names[0]}", names[0])


def prediction(scores: Columns, head: Head | Literal["auto"]) -> int:
    """The column that is explained by default, before the head is known.

    The largest of several columns; the positive side of a single one.

    Args:
        scores: of the unmasked image, `n`.
        head: as declared.
    """
    if len(scores) == 1 and head != "value":
        return POSITIVE
    return int(scores.argmax())
