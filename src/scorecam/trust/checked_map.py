"""One map under test and its model, with numbers that don't depend on the scale of the scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor

from scorecam import cam
from scorecam.bank.bank import ScoreBank
from scorecam.base.cached_property import cached_property
from scorecam.base.wording import quoted
from scorecam.cam import Head, Variant
from scorecam.errors import LayerError, ModelError, SettingError
from scorecam.explanation.explanation import Explanation
from scorecam.metrics.similarity import pearson
from scorecam.model.columns import two_sided
from scorecam.model.engine import Speed
from scorecam.model.model import Model
from scorecam.model.offers import unconverted
from scorecam.model.scorer import Scorer
from scorecam.shapes import Activations, BatchedScores, Columns, Heatmap, Heatmaps, Image, Images

MIN_COLUMNS = 4
"""Columns needed to correlate the columns of two outputs."""

SAME_MODEL = 0.01
"""Scores of the same model differ by at most this share of their range."""


@dataclass(eq=False)
class CheckedMap:
    """One map under test, and the model that it explains.

    Args:
        model: the explained model.
        explanation: the map, with the image that it was made for.
        seed: of all random numbers.
    """

    model: Model
    explanation: Explanation
    seed: int = 0
    _other_passes: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.explanation.image is None:
            raise SettingError(
                "The explanation does not hold the model's input image, so it cannot be checked.",
                likely="It was read from a bank's file.",
                do="Explain the photo or the tensor again, and check that explanation.",
            )

    @property
    def bank(self) -> ScoreBank:
        """The explanation's bank."""
        return self.explanation.bank

    @property
    def passes(self) -> int:
        """The number of images passed so far through the model or its copy."""
        scored = self.scorer.scored if "scorer" in self.__dict__ else 0
        return scored + self._other_passes

    def count(self, images: int) -> None:
        """Count images that did not go through `scorer`."""
        self._other_passes += images

    @property
    def target(self) -> int:
        """The explained column."""
        return self.explanation.target.index

    @cached_property
    def image(self) -> Image:
        """The model's input, `c *i` float32, on its device."""
        assert self.explanation.image is not None  # noqa: S101  (checked in __post_init__)
        return self.explanation.image.detach().to(self.model.device, torch.float32)

    @cached_property
    def empty(self) -> Image:
        """The image with every pixel replaced by the fill, `c *i`."""
        return self.bank.masking.fill_like(self.image)

    @cached_property
    def scorer(self) -> Scorer:
        """Runs the model with the explanation's runtime."""
        runtime = self.bank.provenance.runtime
        offered = runtime in self.model.runtimes
        speed = Speed(runtime) if offered else unconverted(self.model)
        return Scorer(
            self.model, self.image, head=self.bank.head, fill=self.empty, speed=speed, passes=40
        )

    def verify_model(self) -> None:
        """Check that the explanation is of this model.

        Raises:
            ModelError: its scores differ, or it lacks the layer.
        """
        _check_scores(self.scorer.columns, self.bank.image_scores)
        try:
            self.model.find_layer(self.bank.layer, self.image[None])
        except LayerError as error:
            raise ModelError(
                f"This model has no layer {quoted(self.bank.layer)}, the explained layer.",
                likely="The layers of the network had other names when the explanation was made.",
                do="Give the model that was explained.",
            ) from error

    def columns(self, images: Images) -> BatchedScores:
        """The model's scores of images, `b n`; probabilities as their logarithms."""
        return _scores(self.scorer.scores(images), self.bank.head)

    def lead(self, columns: Annotated[Tensor, "*b n"]) -> Annotated[Tensor, "*b"]:
        """The target's score minus the mean of the others.

        Its score alone with a single column, or for a task's values: boxes do not compete as
        classes do.
        """
        own, count = columns[..., self.target], columns.shape[-1]
        if count < 2 or self.values_of:
            return own
        return own - (columns.sum(dim=-1) - own) / (count - 1)

    @cached_property
    def image_columns(self) -> Columns:
        """The scores of the image itself, `n`, in the same units as `columns`."""
        return _scores(self.bank.image_scores[None].to(self.model.device), self.bank.head)[0]

    @property
    def values_of(self) -> str:
        """The task of which the scores are values; empty for classes, and for texts and labels."""
        return self.bank.provenance.task if self.bank.head == "value" else ""

    @property
    def incomparable(self) -> str:
        """Why the columns of two outputs cannot be correlated; empty if they can."""
        if self.values_of:
            return f"The columns of the task {self.values_of} are no choice between classes."
        count = len(self.bank.image_scores)
        return "" if count >= MIN_COLUMNS else f"There are {count} columns, too few to correlate."

    def columns_and_maps(
        self, images: Images, variants: Sequence[str | Variant]
    ) -> tuple[BatchedScores, list[Heatmaps]]:
        """The scores of images, and their maps with the weights of each variant."""
        self.count(len(images))
        columns: list[Tensor] = []
        maps: list[list[Heatmap]] = []
        for image in images:  # one by one: activations of a whole batch take memory
            activations, scores = self.model.activations(image[None], self.bank.layer)
            columns.append(_scores(two_sided(scores, self.bank.head), self.bank.head)[0])
            maps.append([self.weighted(activations[0], variant) for variant in variants])
        return torch.stack(columns), [torch.stack(each) for each in zip(*maps, strict=True)]

    def weighted(self, activations: Activations, variant: str | Variant) -> Heatmap:
        """The map of any activations with the weights of a variant.

        For the explained image it is the bank's map, except for consensus, which also uses an
        evidence field.
        """
        weights = self.bank.weights(self.target, variant).to(activations.device)
        live = weights.nonzero()[:, 0]
        return cam.heatmap(activations[live], weights[live], self.bank.size)


def _scores(scores: BatchedScores, head: Head) -> BatchedScores:
    return scores.clamp_min(1e-12).log() if head == "probabilities" else scores


def _check_scores(now: Columns, then: Columns) -> None:
    """Raise ModelError if the scores are not those of the explained model."""
    same = now.shape == then.shape
    if same:
        low, high = then.aminmax()
        allowed = SAME_MODEL * max(float(high - low), float(then.abs().max()), 1e-12)
        same = bool((now.cpu() - then.cpu()).abs().max() <= allowed)
    if not same:
        raise ModelError(
            "This model's output differs from the stored explanation.",
            likely="The explanation was made with another model, or its target was a function of "
            "the output.",
            do="Give the model that was explained; for a function, "
            "scorecam.open_model(net, output=function).",
        )


# ── numbers without a scale ──────────────────────────────────────────────────────────────────


def standing(columns: Columns, target: int) -> float:
    """How far the target's score stands out, relative to the largest of n random scores.

    (z_t − mean of the others) / their deviation, which is Grubbs' statistic of an outlier (Grubbs
    1950) up to a factor, divided by the expected value for the largest of n normal draws. Scaling
    or shifting all scores does not change it, unlike the probability. NaN if all scores are equal.
    """
    others = torch.cat([columns[:target], columns[target + 1 :]]).double()
    deviation = float(others.std(correction=0))
    if not deviation > 0:
        return math.nan
    count = len(columns)
    largest = torch.special.ndtri(torch.tensor(count / (count + 1), dtype=torch.float64))
    return float((columns[target].double() - others.mean()) / deviation / largest)


def correlation(one: Heatmap, other: Heatmap) -> float:
    """The Pearson correlation of two maps or scores; 0 if one is constant."""
    value = pearson(one, other)
    return 0.0 if math.isnan(value) else value
