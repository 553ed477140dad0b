"""Scores masked images in batches.

Masks are built one batch at a time, straight into a buffer that every batch reuses. There is never
a second copy of a batch, and never a tensor of all masks. The masks of several images share
batches. When memory runs out, the batch is halved and tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scorecam import cam
from scorecam.base.process_state import torch_threads
from scorecam.cam import Masking
from scorecam.model.batches import Batches
from scorecam.model.engine import Engine
from scorecam.model.head import DetectedHead, find_head
from scorecam.model.model import Model
from scorecam.scoring.masked_image import MaskedImage
from scorecam.scoring.progress import OnProgress, Progress
from scorecam.shapes import BatchedScores, Columns, Heatmap, Image, Images


@dataclass(frozen=True)
class Request:
    """Masks of one image that are to be scored, as indices into its distinct masks."""

    image: MaskedImage
    masks: Tensor


@dataclass(frozen=True)
class FirstScores:
    """The scores of the first requests, and of the images scored in the same batches.

    Args:
        fill: of the empty image, `n`.
        repeated: of each unmasked image, a second time, `b n`.
        masked: of each request's masks, `s n`.
    """

    fill: Columns
    repeated: BatchedScores
    masked: list[BatchedScores]


class MaskScorer:
    """Scores the masks of images with one engine. It is used by one thread.

    Args:
        model: detects the head; the engine scores everything else.
        engine: scores the masked images.
        masking: how activations become masks.
        batches: the batch size, which may shrink.
        progress: called before the first batch and as scores arrive.

    Attributes:
        done: masked images scored so far, including the empty one.
        total: masked images to score, at most.
        reports_batches: whether every batch is reported. Otherwise the caller reports.
    """

    def __init__(
        self,
        model: Model,
        engine: Engine,
        masking: Masking,
        batches: Batches,
        progress: OnProgress | None,
    ) -> None:
        self.model = model
        self.engine = engine
        self.masking = masking
        self.batches = batches
        self.progress = progress
        self.done = self.total = 0
        self.reports_batches = True
        self._buffer: Tensor | None = None

    def first_scores(self, requests: Sequence[Request]) -> FirstScores:
        """The scores of the first masks; the empty and the unmasked images share their batches."""
        self.report()
        unmasked, *masked = self._scores(requests, 1 + len(requests))
        return FirstScores(unmasked[0], unmasked[1:], masked)

    def scores(self, requests: Sequence[Request]) -> list[BatchedScores]:
        """The scores of each request's masks, `s n`."""
        return self._scores(requests, 0)[1:]

    def find_head(self, image: MaskedImage, fill: Columns, masked: BatchedScores) -> DetectedHead:
        """The kind of the scores, from all scores of an image so far."""
        known = torch.cat([image.scores[None], fill[None], masked])
        return find_head(self.model, image.image, known, self.batches.of(self.model))

    def report(self, heatmap: Heatmap | None = None) -> None:
        """Report the progress."""
        if self.progress is not None:
            self.progress(Progress(self.done, self.total, heatmap))

    def _scores(self, requests: Sequence[Request], unmasked: int) -> list[BatchedScores]:
        """The scores of the unmasked images together, and of each request's masks."""
        lengths = [unmasked, *(len(request.masks) for request in requests)]
        parts = self.batches.over(
            sum(lengths), lambda part: self._score_part(part, requests, unmasked)
        )
        return list(torch.cat(list(parts)).split(lengths))

    def _score_part(self, part: slice, requests: Sequence[Request], unmasked: int) -> BatchedScores:
        with torch_threads(self.engine.mask_threads):
            rows = self._write(part, requests, unmasked)
        scores = self.engine.scores(rows)
        # The images without a mask are scored a second time here, and are not counted.
        repeated = min(part.stop, unmasked) - max(part.start, 1)
        self.done += len(rows) - max(0, repeated)
        if self.reports_batches:
            self.report()
        return scores

    def _write(self, part: slice, requests: Sequence[Request], unmasked: int) -> Images:
        """The images numbered `part`: the fill, the images without masks, the masked images."""
        image = requests[0].image.image
        fill = self.masking.hidden(image)
        rows = self._rows(part.stop - part.start, image)
        for number in range(part.start, min(part.stop, unmasked)):
            rows[number - part.start] = requests[number - 1].image.image if number else fill
        begin = unmasked
        for request in requests:
            end = begin + len(request.masks)
            start, stop = max(part.start, begin), min(part.stop, end)
            if start < stop:
                maps = request.image.maps_of(request.masks[start - begin : stop - begin])
                masks = cam.masks(maps, image.shape[1:], self.masking)
                out = rows[start - part.start : stop - part.start]
                cam.blend(request.image.image, masks, fill, out)
            begin = end
        return rows

    def _rows(self, count: int, image: Image) -> Images:
        """The first rows of the buffer."""
        if self._buffer is None or not count <= len(self._buffer) <= self.batches.size:
            self._buffer = None  # freed before the next one is made
            self._buffer = torch.empty(
                (count, *image.shape),
                dtype=image.dtype,
                device=image.device,
                memory_format=self.engine.layout,
            )
        return self._buffer[:count]
