"""What the other packages' maps have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import torch
from torch import Tensor

from scorecam import ScoreBank, TargetError
from scorecam.cam import weighted_sum
from scorecam.model.columns import POSITIVE, SIDES

Grid = Annotated[Tensor, "*g"]


def softmax_map(bank: ScoreBank, column: int) -> Grid:
    """ReLU(Σ_k softmax over k of z_t(X·H_k) · A_k) on the layer's grid, over *every* channel.

    This package asks nothing about a flat channel. The others give it a mask of zeros, so that its
    answer is the empty image's, which the bank holds.
    """
    scores = bank.fill_scores[column].expand(len(bank.activations)).clone()
    scores[bank.asked] = bank.scores[:, column]
    return weighted_sum(bank.activations, scores.softmax(dim=0)).relu()


def column_of(bank: ScoreBank, asked: int | str | None) -> int:
    """The bank's column for a class as other packages number them; the prediction where None.

    The single output of a yes-or-no model is their class 0, and there is no other. Here it is the
    positive side, column 1.

    Raises:
        TargetError: there is no such class.
    """
    if bank.names != SIDES or asked is None:
        return bank.target(asked).index
    if bank.target(asked).index != 0:
        raise TargetError(
            f"There is no class {asked!r}: the model has one output, which is class 0 here.",
            do="Use class 0, or leave the class out.",
        )
    return POSITIVE


def minmax(grid: Tensor, epsilon: float) -> Tensor:
    """(x − min) / (max − min + epsilon)."""
    shifted = grid - grid.min()
    return shifted / (shifted.max() + epsilon)


class Each:
    """A target of one image's output as a readout of a batch's.

    Attributes:
        first: the output for the first image it saw.
    """

    def __init__(self, target: Callable[[Any], Tensor]) -> None:
        self.target = target
        self.first: Any = None

    def __call__(self, outputs: Any) -> Tensor:
        """The target's number for every image."""
        if self.first is None:
            self.first = outputs[0]
        return torch.stack([self._number(one) for one in outputs])

    def _number(self, output: Any) -> Tensor:
        found = self.target(output)
        if found.numel() != 1:
            raise TargetError(
                f"The target returned the shape {tuple(found.shape)} for one image; one number is "
                "needed.",
                do="Choose one column in it, or sum over it.",
            )
        return found.reshape(())
