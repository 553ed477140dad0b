"""Which masks are scored: all of them, or the few that a budgeted search selects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scorecam.budget.plan import Plan
from scorecam.budget.search import BudgetedSearch
from scorecam.cam import Variant
from scorecam.model.head import DetectedHead
from scorecam.model.task_columns import TaskColumns
from scorecam.model.variants import Auto, resolved, suited
from scorecam.scoring.mask_scorer import MaskScorer, Request
from scorecam.scoring.masked_image import MaskedImage
from scorecam.settings import Settings
from scorecam.shapes import BatchedScores, Columns, Heatmap


@dataclass(frozen=True)
class MaskScores:
    """The scores of one image's masks.

    Args:
        masks: indices into the image's distinct masks, in the order scored, `s`.
        scores: `s n`.
        fill: the scores of the empty image, `n`.
        repeated: the second scores of the unmasked image, `n`.
        head: the kind of the scores.
    """

    masks: Tensor
    scores: BatchedScores
    fill: Columns
    repeated: Columns
    head: DetectedHead


def expected_masks(images: Sequence[MaskedImage], plan: Plan | None) -> int:
    """About how many masks will be scored."""
    if plan is None:
        return sum(map(len, images))
    return sum(min(len(image), plan.expected) for image in images)


def score_masks(
    scorer: MaskScorer, images: Sequence[MaskedImage], columns: Sequence[int], settings: Settings
) -> list[MaskScores]:
    """Score the masks of each image, as the budget says.

    Args:
        columns: for each image, the column to explain.
    """
    plan = settings.plan
    if plan is None or all(plan.least >= len(image) for image in images):
        return _score_all(scorer, images)
    searches = [
        _Search(image, column, settings, scorer.model.task_columns)
        for image, column in zip(images, columns, strict=True)
    ]
    return _score_few(scorer, searches)


def _score_all(scorer: MaskScorer, images: Sequence[MaskedImage]) -> list[MaskScores]:
    """Every mask of every image, in full batches."""
    requests = [
        Request(image, torch.arange(len(image), device=image.first.device)) for image in images
    ]
    scorer.total = 1 + sum(len(request.masks) for request in requests)
    first = scorer.first_scores(requests)
    heads = [
        scorer.find_head(image, first.fill, scores)
        for image, scores in zip(images, first.masked, strict=True)
    ]
    return [
        MaskScores(request.masks, scores, first.fill, repeated=repeated, head=head)
        for request, scores, repeated, head in zip(
            requests, first.masked, first.repeated, heads, strict=True
        )
    ]


def _score_few(scorer: MaskScorer, searches: Sequence[_Search]) -> list[MaskScores]:
    """The masks that determine each image's map, in rounds that the images share."""
    scorer.total = 1 + sum(search.budgeted.most for search in searches)
    scorer.reports_batches = False
    # The empty and the unmasked images share the first round, and it should fit a batch.
    first = scorer.first_scores([search.select(spare=2) for search in searches])
    heads = [
        scorer.find_head(search.image, first.fill, scores)
        for search, scores in zip(searches, first.masked, strict=True)
    ]
    masked = first.masked
    while True:
        for search, scores, head in zip(searches, masked, heads, strict=True):
            search.update(scores, first.fill, head)
        _report(scorer, searches[0])
        requests = [search.select() for search in searches]
        if not any(len(request.masks) for request in requests):
            break
        masked = scorer.scores(requests)
    if scorer.done < scorer.total:  # the search needed fewer than its limit
        scorer.total = scorer.done
        _report(scorer, searches[0])
    return [
        search.result(first.fill, repeated, head)
        for search, repeated, head in zip(searches, first.repeated, heads, strict=True)
    ]


def _report(scorer: MaskScorer, search: _Search) -> None:
    if scorer.progress is not None:
        scorer.report(search.heatmap())


class _Search:
    """The search for the few masks of one image, and their scores so far."""

    def __init__(
        self, image: MaskedImage, column: int, settings: Settings, task_columns: TaskColumns | None
    ) -> None:
        plan = settings.plan
        assert plan is not None  # noqa: S101  (all masks are scored without one)
        self.image = image
        self.budgeted = BudgetedSearch(
            image.surrogate(settings.seed), image.scores, column=column, plan=plan
        )
        self._variant: Variant | Auto = settings.variant
        self._columns = task_columns
        self._scores: list[BatchedScores] = []

    def select(self, *, spare: int = 0) -> Request:
        """The masks of the next round."""
        return Request(self.image, self.budgeted.select(spare=spare))

    def update(self, scores: BatchedScores, fill: Columns, head: DetectedHead) -> None:
        """Take the scores of the masks that were selected last."""
        if len(scores):
            self._scores.append(scores)
            auto = suited(head.head, self.image.live_maps, self._columns)
            variant = resolved(self._variant, auto)
            self.budgeted.update(scores, fill, head.head, variant)

    def heatmap(self) -> Heatmap:
        """The map as estimated so far."""
        return self.image.heatmap(self.budgeted.weights(), self.budgeted.field())

    def result(self, fill: Columns, repeated: Columns, head: DetectedHead) -> MaskScores:
        """Everything that was scored."""
        empty = self.image.scores.new_zeros(0, len(fill))
        return MaskScores(
            masks=torch.tensor(self.budgeted.selected, dtype=torch.int64),
            scores=torch.cat([empty, *self._scores]),
            fill=fill,
            repeated=repeated,
            head=head,
        )
