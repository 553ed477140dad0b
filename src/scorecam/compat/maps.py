"""Shared by the modules for other packages: maps, classes, targets and refused arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import torch
from torch import Tensor

from scorecam import ScoreBank, SettingError, TargetError
from scorecam.cam import weighted_sum
from scorecam.model.columns import POSITIVE, SIDES

Grid = Annotated[Tensor, "*g"]


def softmax_map(bank: ScoreBank, column: int) -> Grid:
    """ReLU(Σ_k softmax over k of z_t(X·H_k) · A_k) on the layer's grid, over *every* channel.

    This package does not score flat channels. The other packages score them with a mask of zeros,
    which gives the scores of the empty image; the bank has these.
    """
    scores = bank.fill_scores[column].expand(len(bank.activations)).clone()
    scores[bank.asked] = bank.scores[:, column]
    return weighted_sum(bank.activations, scores.softmax(dim=0)).relu()


def column_of(bank: ScoreBank, category: int | str | None) -> int:
    """The bank's column for a class as other packages number it; None for the prediction.

    For them, the single output of a binary model is class 0, and there is no other class. Here it
    is the positive side, column 1.

    Raises:
        TargetError: there is no such class.
    """
    if bank.names != SIDES or category is None:
        return bank.target(category).index
    if bank.target(category).index != 0:
        raise TargetError(
            f"There is no class {category!r}: the model has one output, which is class 0.",
            do="Use class 0, or leave the class out.",
        )
    return POSITIVE


def minmax(grid: Tensor, epsilon: float) -> Tensor:
    """(x − min) / (max − min + epsilon)."""
    shifted = grid - grid.min()
    return shifted / (shifted.max() + epsilon)


def refuse_argument(name: str, value: object, do: str = "Leave it out.", why: str = "") -> None:
    """Refuse an argument that is accepted for its name only.

    Args:
        name: of the parameter.
        value: anything but None is refused.
        do: the advice.
        why: why it is not supported.
    """
    if value is not None:
        raise SettingError(f"{name} is not supported{': ' if why else ''}{why}.", do=do)


INFERNO = "the map is drawn in inferno"


class PerImage:
    """A readout that applies a target to the output of each image in a batch.

    Attributes:
        first: the output for the first image of all.
    """

    def __init__(self, target: Callable[[Any], Tensor]) -> None:
        self.target = target
        self.first: Any = None

    def __call__(self, outputs: Any) -> Tensor:
        """The target's number for every image."""
        if self.first is None:
            self.first = outputs[0]
        return torch.stack([self._number(output) for output in outputs])

    def _number(self, output: Any) -> Tensor:
        number = self.target(output)
        if number.numel() != 1:
            raise TargetError(
                f"The target returned the shape {tuple(number.shape)} for one image.",
                do="It has to return one number: select an entry, or sum over them.",
            )
        return number.reshape(())
