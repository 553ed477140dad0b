"""Plain forward passes without masks: the least time that as many passes can take."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.common.accepting_probe import AcceptingProbe
from benchmarks.speed.job import MIB, Job, Peak, now
from benchmarks.speed.rows import Json
from benchmarks.speed.subjects import network_of
from scorecam import Model
from scorecam.model.engine import Speed


@dataclass(frozen=True)
class Plain:
    """The network without masks, ready to run.

    Args:
        run: scores one batch.
        layout: the memory format of its images.
    """

    run: Callable[[Tensor], object]
    layout: torch.memory_format = torch.channels_last


def floor_eager(model: Model, precision: str) -> Plain:
    """The PyTorch module itself."""
    network, device = network_of(model), model.device.type

    def run(images: Tensor) -> object:
        if precision == "float32":
            return network(images)
        with torch.autocast(device, dtype=getattr(torch, precision)):
            return network(images)

    return Plain(run)


def floor_openvino(model: Model, image: Tensor, precision: str, batch: int) -> Plain:
    """The network in scorecam's own OpenVINO engine, converted before the clock starts.

    Args:
        model: the opened model.
        image: an input, `1 c *i`.
        precision: the engine's precision.
        batch: images per pass.
    """
    engine = model.engine(Speed("openvino", precision), AcceptingProbe(image[0]))  # type: ignore[arg-type]
    if (engine.runtime, engine.precision) != ("openvino", precision):
        sys.exit(f"OpenVINO does not run here: {'; '.join(engine.remarks)}")
    engine.scores(image.repeat(batch, *[1] * (image.ndim - 1)))  # allocates its buffers
    return Plain(engine.scores, engine.layout)


def measure(job: Job, model: Model, images: Tensor) -> Json:
    """The time of a number of plain forward passes, on batches that exist already.

    Building the batch and converting the network count for the memory, not for the time.
    """
    image = images[job.at : job.at + 1]
    if job.floor is None:
        sys.exit(f"{job.row} repeats another row; add --floor RUNTIME,PRECISION,PASSES,BATCH.")
    runtime, precision, count, size = job.floor
    if runtime not in ("eager", "openvino"):
        raise NotImplementedError(f"There are no plain passes in the runtime {runtime}.")
    with Peak(job.device) as peak:
        if runtime == "openvino":
            plain = floor_openvino(model, image, precision, size)
        else:
            plain = floor_eager(model, precision)
        batch = image.repeat(size, *[1] * (image.ndim - 1)).contiguous(memory_format=plain.layout)
        with torch.inference_mode():
            began = now(job.device)
            for start in range(0, count, size):
                plain.run(batch[: count - start])
            seconds = now(job.device) - began
    return {
        "seconds": seconds,
        "peak_mib": peak.bytes / MIB,
        "runtime": runtime,
        "precision": precision,
        "forward_passes": count,
        "batch_size": size,
    }
