"""`fast` and Grad-CAM in one process, photo after photo, on the same tensors.

The first lap over the photos settles the choice of a runtime and is not counted. Then both methods
explain each photo in turn, in alternating order. Grad-CAM has a copy of the network of its own,
because its hooks would change the network that scorecam converts. Both find the predicted class
themselves.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.speed.job import Job, now
from benchmarks.speed.peers import by_torchcam_gradcam
from benchmarks.speed.rows import ROWS, Json
from benchmarks.speed.subjects import opened
from benchmarks.speed.timing import PASSES, Timers
from scorecam import Explanation, Model, explain

LAPS = 2
"""Laps over all photos that are counted."""


def measure(job: Job, model: Model, images: Tensor) -> Json:
    """Seconds of each photo: ours, those of our runtime's passes, and Grad-CAM's."""
    gradcam = by_torchcam_gradcam(job, opened(job.network, job.device))
    keywords, timers = ROWS[job.row].keywords, Timers()
    found: list[Explanation] = []

    def ours(image: Tensor) -> None:
        explanation = explain(model, image, **keywords)
        _ = explanation.heatmap
        found.append(explanation)

    photos: list[Json] = []
    with timers.patched(model):
        settling = [clocked(job.device, lambda image=image: ours(image)) for image in images]
        gradcam(images[:1])
        for lap in range(LAPS):
            for number, image in enumerate(images):
                before = timers.seconds[PASSES]
                calls = {
                    "ours": lambda image=image: ours(image),
                    "gradcam": lambda image=image: gradcam(image[None]),
                }
                order = list(calls) if (lap + number) % 2 else list(calls)[::-1]
                seconds = {name: clocked(job.device, calls[name]) for name in order}
                spent = timers.seconds[PASSES] - before
                passes = found[-1].provenance.forward_passes
                photos.append({"photo": number, **seconds, "passes": spent, "count": passes})
    return {
        "seconds": sorted(photo["ours"] for photo in photos)[len(photos) // 2],
        "settling": settling,
        "each": photos,
        "runtime": found[-1].provenance.runtime,
        "precision": found[-1].provenance.precision,
        "batch_size": found[-1].provenance.batch_size,
    }


def clocked(device: str, call: Callable[[], object]) -> float:
    """The seconds of one call."""
    torch.manual_seed(0)
    began = now(device)
    call()
    return now(device) - began
