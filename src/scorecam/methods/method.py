"""The interface of methods: a case goes in, and a heatmap comes out.

Score-CAM is one method; the others are baselines and controls. All of them explain the same tensor
of the same layer for the same column.
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
from scorecam.model.variants import Auto
from scorecam.shapes import Columns, Heatmap, Image, Images


@dataclass(frozen=True, eq=False)
class Case:
    """One image to explain, with everything a method may need.

    Args:
        model: the model.
        image: `c *i`, preprocessed.
        target: the explained column.
        layer: the name of the layer, for methods that use one.
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
        """The target's probability for each of these images, `b` float32; the score for values."""
        return self.scorer.probabilities(images, self.target)


class Method(ABC):
    """A way to explain. Larger values always mean more important.

    Attributes:
        name: as users write it, with settings.
        settings: everything that the map depends on, with defaults, as plain values.
        source: the paper, and the code.
        variant: of the bank that the method reads, or "auto"; None if it reads no bank.
        gradients: whether it needs the model's gradients.
    """

    name: str
    settings: Mapping[str, object]
    source: str
    variant: Variant | Auto | None = None
    gradients: bool = False

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.name)

    @abstractmethod
    def heatmap(self, case: Case) -> Heatmap:
        """The heatmap: `*i` float32, not scaled, on the image's device."""
