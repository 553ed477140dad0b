"""The seam between ways to explain: what a method is given, and what it gives back.

Score-CAM is one method; the ones it is compared with are others. All of them explain the same
tensor of the same layer for the same column.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from scorecam.bank.bank import ScoreBank
from scorecam.base.cached_property import cached_property
from scorecam.base.wording import constructor, excerpt, summary
from scorecam.cam import Variant
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
        make_bank: scores the masks.
        make_scorer: prepares the model for scoring other images.
        seed: for methods that use random numbers.
        name: of the photo, with its folders, for maps that are read from files.
    """

    model: Model
    image: Image
    target: int
    layer: str
    make_bank: Callable[[], ScoreBank]
    make_scorer: Callable[[], Scorer]
    seed: int = 0
    name: str = ""

    __repr__ = constructor

    @cached_property
    def bank(self) -> ScoreBank:
        """The scores of the masks, computed at the first use."""
        return self.make_bank()

    @cached_property
    def scorer(self) -> Scorer:
        """Scores any other images, such as changed copies of this one."""
        return self.make_scorer()

    def probabilities(self, images: Images) -> Columns:
        """P of the target for each of these images, `b` float32 (the number itself for values)."""
        return self.scorer.probabilities(images, self.target)


class Method(ABC):
    """A way to explain. Larger always means more important.

    Attributes:
        name: as users write it, settings included.
        settings: every setting that the map depends on, defaults included: plain values.
        source: the paper, and the code.
        variant: of the bank that the method reads; None if it reads no bank.
    """

    name: str
    settings: Mapping[str, object]
    source: str
    variant: Variant | None = None

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.name)

    @abstractmethod
    def heatmap(self, case: Case) -> Heatmap:
        """What the model looked at: `*i` float32, not scaled, on the image's device."""
