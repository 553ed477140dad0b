"""Measuring what "auto" chooses from for a model of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from scorecam.backends.inputs.derived import unseen
from scorecam.backends.pytorch.model import TorchModel
from scorecam.backends.runtimes.comparison import compare
from scorecam.model.engine import MeasuredEngine, Probe
from scorecam.model.model import Model


def compare_engines(model: Model, probe: Probe) -> Sequence[MeasuredEngine]:
    """Every runtime and precision, the fastest first; empty for models of other backends."""
    if not isinstance(model, TorchModel):
        return ()
    outside = unseen(model.call.derived, model.call.taken(probe.image[None]))
    if outside is None and model.task_columns is not None:
        outside = "The readout of the task"
    return compare(model, probe, outside)
