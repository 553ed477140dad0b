"""Mean probabilities of classes over fixed regions, from one output of a segmenter.

The shapes alone decide what is computed, so that a pass can be followed without numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import torch
from torch import Tensor

from scorecam.errors import TargetError
from scorecam.model.readout import Readout
from scorecam.shapes import BatchedScores

Kind = Literal["logits", "sigmoid", "probabilities"]
"""What the numbers are: logits of a softmax over the classes, of a sigmoid each, or probabilities.
"""

Maps = Annotated[Tensor, "b n *g"]
"""One map per class on the grid of the output."""

Weights = Annotated[Tensor, "k p"]
"""For each column, the share of every cell of the flattened grid in its region; rows add up to one.
"""

MOST: Final = 2**22
"""Numbers that are converted at a time. More would cost memory and save no time."""


CELLS: Final = 100
"""Coarser grids do not show where the evidence for a region is (docs/tasks/segment.md)."""


class ClassMaps(ABC):
    """How an output becomes one probability per class and cell. Equal if they read the same."""

    @abstractmethod
    def probabilities(self, output: Any) -> Maps:
        """The probability of every class in every cell, `b n *g` float32."""

    @abstractmethod
    def means(self, output: Any, classes: Tensor, weights: Weights) -> BatchedScores:
        """The mean probability of each column's class over its region, `b k` float32.

        Args:
            classes: of each column, `k`.
        """


@dataclass(frozen=True)
class PixelMaps(ClassMaps):
    """One number per class and cell. A single map is that of the class 1; the rest is the class 0.

    Args:
        read: an output → the numbers.
        axis: of the classes, 1 or -1; None if there is only one map, without such an axis.
        kind: of the numbers.
    """

    read: Readout
    axis: int | None
    kind: Kind = "logits"

    def numbers(self, output: Any) -> Maps:
        """The numbers as they are, `b n *g`."""
        found = self.read(output)
        return found[:, None] if self.axis is None else found.movedim(self.axis, 1)

    def probabilities(self, output: Any) -> Maps:
        return self._probabilities(self.numbers(output).float(), None)

    def means(self, output: Any, classes: Tensor, weights: Weights) -> BatchedScores:
        def part(numbers: Tensor, shares: Tensor) -> Tensor:
            return torch.einsum("bkp,kp->bk", self._probabilities(numbers, classes), shares)

        return _summed(part, self.numbers(output), weights)

    def _probabilities(self, numbers: Maps, classes: Tensor | None) -> Maps:
        """The probabilities of some classes; of all of them without `classes`."""

        def chosen(maps: Maps) -> Maps:
            return maps if classes is None else maps.index_select(1, classes.to(maps.device))

        if self.kind == "logits":
            return (chosen(numbers) - numbers.logsumexp(1, keepdim=True)).exp()
        single = numbers.shape[1] == 1
        if not single:
            numbers = chosen(numbers)
        found = numbers.sigmoid() if self.kind == "sigmoid" else numbers
        return chosen(torch.cat([1 - found, found], 1)) if single else found


@dataclass(frozen=True)
class QueryMaps(ClassMaps):
    """Masks of queries, each with probabilities of the classes, as in MaskFormer and Mask2Former.

    A class has in a cell the sum over the queries of its probability times the query's mask, as in
    their own semantic segmentation. So the sum over the classes is not one.

    Args:
        classes: reads the logits of the classes, `b q n+1`; the last is "no object".
        masks: reads the logits of the masks, `b q *g`.
    """

    classes: Readout
    masks: Readout

    def probabilities(self, output: Any) -> Maps:
        masks = self.masks(output).float().sigmoid()
        return torch.einsum("bqn,bq...->bn...", self._of_queries(output), masks)

    def means(self, output: Any, classes: Tensor, weights: Weights) -> BatchedScores:
        def part(numbers: Tensor, shares: Tensor) -> Tensor:
            return torch.einsum("bqp,kp->bqk", numbers.sigmoid(), shares)

        queries = self._of_queries(output)
        queries = queries.index_select(2, classes.to(queries.device))
        return torch.einsum("bqk,bqk->bk", queries, _summed(part, self.masks(output), weights))

    def _of_queries(self, output: Any) -> Tensor:
        return self.classes(output).float().softmax(-1)[..., :-1]


def _summed(part: Callable[[Tensor, Tensor], Tensor], maps: Maps, weights: Weights) -> Tensor:
    """The sum over parts of the grid."""
    flat = maps.flatten(2)
    if flat.shape[2] != weights.shape[1]:
        raise TargetError(
            f"The model's output now has {flat.shape[2]} cells, and {weights.shape[1]} for the "
            "image.",
            likely="The size of its output depends on the numbers in the image.",
            do="Give the model an output of a fixed size: wrap it in a module that pads or resizes "
            "its output.",
        )
    total = part(*next(parts := _parts(flat, weights)))
    for numbers, shares in parts:
        total = total + part(numbers, shares)
    return total


def _parts(flat: Tensor, weights: Weights) -> Iterator[tuple[Tensor, Tensor]]:
    step = max(1, MOST // max(1, flat.shape[0] * flat.shape[1]))
    for start in range(0, flat.shape[2], step):
        end = start + step
        yield flat[:, :, start:end].float(), weights[:, start:end].to(flat.device)


@dataclass(frozen=True, eq=False)
class RegionMeans:
    """The readout: one mean probability per column.

    Args:
        maps: reads the probabilities.
        classes: of each column, `k`.
        weights: the region of each column.

    Attributes:
        fewest_cells: of the default layer; see `Trace.cells`.
    """

    maps: ClassMaps
    classes: Tensor
    weights: Weights
    fewest_cells: int = CELLS

    @property
    def trace_key(self) -> object:
        """Every region is read from the same tensors."""
        return "segment", self.maps

    def __call__(self, output: Any) -> BatchedScores:
        return self.maps.means(output, self.classes, self.weights)
