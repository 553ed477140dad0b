"""One map, its model, and ways to ask about it that do not hang on the scale of the answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, cast, get_args

import torch
from torch import Tensor

from scorecam import cam
from scorecam.bank.bank import ScoreBank
from scorecam.base.once import cached_property
from scorecam.base.wording import quoted
from scorecam.cam import Head
from scorecam.errors import LayerError, ModelError, SettingError
from scorecam.explanation import Explanation
from scorecam.metrics.similarity import pearson
from scorecam.model.columns import two_sided
from scorecam.model.engine import Speed
from scorecam.model.model import Model
from scorecam.model.runtimes import Runtime
from scorecam.model.scorer import Scorer
from scorecam.shapes import Activations, BatchedScores, Columns, Heatmap, Heatmaps, Image, Images

ENOUGH = 4
"""Columns at least where columns are compared with each other."""

SAME = 0.01
"""How far answers may be off, of their range, and still be the same model's."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One map that is checked, and the model that it is of.

    Args:
        model: what is asked.
        explanation: the map, with the image it is of.
        seed: of everything that is drawn.
    """

    model: Model
    explanation: Explanation
    seed: int = 0
    _beside: list[int] = field(default_factory=list[int], repr=False)

    def __post_init__(self) -> None:
        if self.explanation.image is None:
            raise SettingError(
                "The explanation does not hold the image that the model saw, so nothing more can "
                "be asked about it.",
                likely="It was read from a bank's file, or made from several inputs.",
                do="Explain the photo or the tensor again, and check that explanation.",
            )

    @property
    def bank(self) -> ScoreBank:
        """What the model was asked before."""
        return self.explanation.bank

    @property
    def passes(self) -> int:
        """Images that were put to the model, or to a copy of it, so far."""
        asked = self.scorer.asked if "scorer" in self.__dict__ else 0
        return asked + sum(self._beside)

    def count(self, images: int) -> None:
        """Add images that were asked about in another way than by `scorer`."""
        self._beside.append(images)

    @property
    def target(self) -> int:
        """The column that is explained."""
        return self.explanation.target.index

    @cached_property
    def image(self) -> Image:
        """What the model saw, `c *i` float32, on its device."""
        assert self.explanation.image is not None  # noqa: S101  (held since it was made)
        return self.explanation.image.detach().to(self.model.device, torch.float32)

    @cached_property
    def empty(self) -> Image:
        """The image with everything muted, `c *i`."""
        return self.bank.masking.fill_like(self.image)

    @cached_property
    def scorer(self) -> Scorer:
        """Asks the model, run as it was for the explanation."""
        made = self.bank.provenance.runtime
        speed = Speed(cast(Runtime, made) if made in get_args(Runtime) else "eager")
        return Scorer(
            self.model, self.image, head=self.bank.head, fill=self.empty, speed=speed, passes=40
        )

    def meet(self) -> None:
        """Ask the model about the image and the empty one: whether it is the one explained.

        Raises:
            ModelError: the explanation is another model's.
        """
        _same_model(self.scorer.columns, self.bank.image_scores)
        try:
            self.model.find_layer(self.bank.layer, self.image[None])
        except LayerError as error:
            raise ModelError(
                f"This model has no layer {quoted(self.bank.layer)}, which was explained.",
                likely="The explanation was made with the same network under other names.",
                do="Give the model that was explained.",
            ) from error

    def columns(self, images: Images) -> BatchedScores:
        """What the model says of any images, `b n`, in units in which differences mean something.

        Probabilities are told as their logarithms.
        """
        return _strength(self.scorer.scores(images), self.bank.head)

    def lead(self, columns: Annotated[Tensor, "*b n"]) -> Annotated[Tensor, "*b"]:
        """How far the target is ahead of the mean of the other columns.

        Of a single column it is the number itself.
        """
        own, count = columns[..., self.target], columns.shape[-1]
        return own if count < 2 else own - (columns.sum(dim=-1) - own) / (count - 1)

    @cached_property
    def answer(self) -> Columns:
        """What the model says of the image itself, `n`, in the same units."""
        return _strength(self.bank.image_scores[None].to(self.model.device), self.bank.head)[0]

    @cached_property
    def comparable(self) -> bool:
        """Whether there are enough columns to compare them with each other."""
        return len(self.bank.image_scores) >= ENOUGH

    def looked_at(self, images: Images) -> tuple[BatchedScores, Heatmaps]:
        """Columns of other images, and the maps that the explanation's own weights make of them."""
        self.count(len(images))
        columns: list[Tensor] = []
        maps: list[Heatmap] = []
        for image in images:  # one by one: the maps of a whole layer take memory
            activations, scores = self.model.activations(image[None], self.bank.layer)
            columns.append(_strength(two_sided(scores, self.bank.head), self.bank.head)[0])
            maps.append(self.weighted(activations[0]))
        return torch.stack(columns), torch.stack(maps)

    def weighted(self, activations: Activations) -> Heatmap:
        """The map that the explanation's own weights make of any activations.

        Of the explained image's, it is the explanation's map, but for a variant's evidence field.
        """
        weights = self.bank.weights(self.target, self.explanation.variant).to(activations.device)
        live = weights.nonzero()[:, 0]
        return cam.heatmap(activations[live], weights[live], self.bank.size)


def _strength(scores: BatchedScores, head: Head) -> BatchedScores:
    return scores.clamp_min(1e-12).log() if head == "probabilities" else scores


def _same_model(now: Columns, then: Columns) -> None:
    """Refuse an explanation that another model made.

    Raises:
        ModelError: it is.
    """
    same = now.shape == then.shape
    if same:
        low, high = then.aminmax()
        allowed = SAME * max(float(high - low), float(then.abs().max()), 1e-12)
        same = bool((now.cpu() - then.cpu()).abs().max() <= allowed)
    if not same:
        raise ModelError(
            "This model answers the image otherwise than the explanation says.",
            likely="The explanation was made with another model, or its target was a function of "
            "the output.",
            do="Give the model that was explained; for a function, "
            "scorecam.open_model(net, output=function).",
        )


# ── numbers without a scale ──────────────────────────────────────────────────────────────────


def standing(columns: Columns, target: int) -> float:
    """How many times as far out the target's column is as the largest of as many random draws.

    (z_t − mean of the others) / their deviation, which is Grubbs' statistic of an outlier (Grubbs
    1950) up to a factor, over what it would be for the largest of n draws from a normal
    distribution. It does not change when all columns are multiplied or moved: it is not the
    probability, which does. NaN for columns that are all the same.
    """
    others = torch.cat([columns[:target], columns[target + 1 :]]).double()
    deviation = float(others.std(correction=0))
    if not deviation > 0:
        return math.nan
    count = len(columns)
    largest = torch.special.ndtri(torch.tensor(count / (count + 1), dtype=torch.float64))
    return float((columns[target].double() - others.mean()) / deviation / largest)


def alike(one: Heatmap, other: Heatmap) -> float:
    """The correlation of two maps' pixels; 0 where one is the same everywhere."""
    found = pearson(one, other)
    return 0.0 if math.isnan(found) else found
