"""The seam between ways to explain: what a method is given, and what it gives back.

Score-CAM is one method; the ones it is compared with are others. All of them explain the same
tensor of the same layer for the same column.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from scorecam.bank import ScoreBank
from scorecam.model import Model
from scorecam.shapes import Heatmap, Image


@dataclass(frozen=True, eq=False)
class Case:
    """One image to explain, and everything a method may want to know of it.

    Args:
        model: what gave the image its score.
        image: `c *i`, preprocessed.
        target: the column that is explained.
        layer: the name of the layer, for methods that look at one.
        ask: puts the masks to the model.
    """

    model: Model
    image: Image
    target: int
    layer: str
    ask: Callable[[], ScoreBank]

    @cached_property
    def bank(self) -> ScoreBank:
        """The model's answers to the masks: asked for once, whoever wants them first."""
        return self.ask()


class Method(ABC):
    """A way to explain. Larger always means more important.

    Attributes:
        name: as users write it, settings included.
    """

    name: str

    @abstractmethod
    def heatmap(self, case: Case) -> Heatmap:
        """What the model looked at: `*i` float32, not scaled."""
