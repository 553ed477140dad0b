"""The clock that passes are timed with. Tests replace `time` here."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from scorecam.model.engine import Engine
from scorecam.shapes import BatchedScores, Images


def timed(
    scores: Callable[[Images], BatchedScores], images: Images, batch: int | None = None
) -> tuple[BatchedScores, float]:
    """The scores of images, and the seconds that each row of the passes took.

    Args:
        batch: the rows of every pass; a smaller batch is padded. None if it is not.
    """
    began = now(images.device)
    result = scores(images)
    return result, (now(images.device) - began) / rows(len(images), batch)


def rows(images: int, batch: int | None) -> int:
    """The rows that are computed for this number of images."""
    return images if batch is None else -(-images // batch) * batch


def now(device: torch.device) -> float:
    """The time in seconds, after the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def watched(engine: Engine, report: Callable[[float], None]) -> Callable[[Images], BatchedScores]:
    """The engine's scores; `report` gets the seconds per row of every batch.

    Only batches on a processor are timed: on other devices, waiting for each would cost time.
    """

    def scores(images: Images) -> BatchedScores:
        if images.device.type != "cpu" or not len(images):
            return engine.scores(images)
        result, seconds = timed(engine.scores, images, engine.batch)
        report(seconds)
        return result

    return scores
