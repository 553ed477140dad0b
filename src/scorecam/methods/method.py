"""The seam between ways to explain: what a method is given, and what it gives back.

Score-CAM is one method; the ones it is compared with are others. All of them explain the same
tensor of the same layer for the same column.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from scorecam.bank.bank import ScoreBank
from scorecam.base.once import cached_property
from scorecam.base.wording import constructor, excerpt, summary
from scorecam.model.model import Model
from scorecam.model.scorer import Scorer
from scorecam.shapes import Columns, Heatmap, Image, Images


@dataclass(frozen=True, eq=False)
class Case:
    """One image to explain, and everything a method may want to know of it.

    Args:
        model: what gave the image its score.
        image: `c *i`, preprocessed.
        target: the column that is explained.
        layer: the name of the layer, for methods that look at one.
        ask: puts the masks to the model.
        listen: gets the model ready for other questions about the image.
        seed: for methods that draw.
        name: of the photo, with its folders, for maps that are kept in files.
    """

    model: Model
    image: Image
    target: int
    layer: str
    ask: Callable[[], ScoreBank]
    listen: Callable[[], Scorer]
    seed: int = 0
    name: str = ""

    __repr__ = constructor

    @cached_property
    def bank(self) -> ScoreBank:
        """The model's answers to the masks: asked for once, whoever wants them first."""
        return self.ask()

    @cached_property
    def scorer(self) -> Scorer:
        """What answers any other question about the image."""
        return self.listen()

    def probabilities(self, images: Images) -> Columns:
        """P of the target for each of these images, `b` float32 (the number itself for values)."""
        return self.scorer.probabilities(images, self.target)


class Method(ABC):
    """A way to explain. Larger always means more important.

    Attributes:
        name: as users write it, settings included.
        settings: every setting that the map depends on, defaults included: plain values.
        source: whose method, and whose code.
    """

    name: str
    settings: Mapping[str, object]
    source: str

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.name)

    @abstractmethod
    def heatmap(self, case: Case) -> Heatmap:
        """What the model looked at: `*i` float32, not scaled, on the image's device."""
