"""What each row does in one call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from benchmarks.common.accepting_probe import AcceptingProbe
from benchmarks.gpu.peers import PEERS
from benchmarks.gpu.rows import Figures, Json, Row
from benchmarks.speed.figures import compared
from scorecam import Explanation, Model, ScoreCAM, explain, scaled
from scorecam.bank.bank import Provenance
from scorecam.model.engine import Engine, Speed

PLAIN_BATCHES = 4
"""Batches in one call of plain passes."""

Work = Callable[[], list[Tensor]]
"""One call; it returns the heatmaps that are compared with the exact ones."""


class RowFailedError(Exception):
    """A row cannot be measured here; the message gives the reason."""


@dataclass(frozen=True)
class Subject:
    """A network, and what its rows share.

    Args:
        model: the opened model.
        images: preprocessed photos on the device, `b c h w`; most rows explain the first.
        half: the device's half precision.
        batch: images per plain pass.
        compared: photos that the fidelity of many photos is measured on.
    """

    model: Model
    images: Tensor
    half: str
    batch: int
    compared: int

    @cached_property
    def references(self) -> list[Explanation]:
        """The exact explanations in float32, without the rounding of TF32."""
        with exact_float32():
            return [
                explain(self.model, image, runtime="eager")
                for image in self.images[: self.compared]
            ]

    @property
    def network(self) -> nn.Module:
        """The PyTorch module, for plain passes and the other packages."""
        return self.model.module  # type: ignore[attr-defined]

    def precision(self, row: Row) -> str:
        """The precision of a row."""
        return self.half if row.half else "float32"


@contextlib.contextmanager
def exact_float32() -> Generator[None]:
    """Convolutions of float32 in float32; by default, cards round their inputs to TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def work_of(row: Row, subject: Subject, figures: Figures) -> Work:
    """The work of a row; it also fills in the figures that need no clock.

    Raises:
        RowFailedError: it cannot be done here.
    """
    figures.precision, figures.runtime = subject.precision(row), row.runtime
    if row.kind == "plain":
        return _plain(row, subject, figures)
    if row.kind in PEERS:
        return _peer(row, subject, figures)
    if row.kind == "many":
        return _many(row, subject, figures)
    return _one(row, subject, figures)


def _one(row: Row, subject: Subject, figures: Figures) -> Work:
    """A new explanation of the first photo; for "five", also the maps of four more classes."""

    def run() -> list[Tensor]:
        explanation = explain(
            subject.model,
            subject.images[0],
            budget=row.budget,
            runtime=row.runtime,
            precision=subject.precision(row),
        )
        _record(figures, explanation.bank.provenance)
        if row.kind == "five":
            return [each.heatmap for each in explanation.top(5)][:1]
        return [explanation.heatmap]

    return run


def _record(figures: Figures, provenance: Provenance) -> None:
    """Take from the result what ran."""
    wanted = figures.runtime, figures.precision
    if wanted != (provenance.runtime, provenance.precision):
        raise RowFailedError(" ".join(provenance.remarks) or f"{wanted[0]} was not used")
    figures.images = provenance.forward_passes
    figures.batch = provenance.batch_size
    figures.remarks = list(provenance.remarks)


def _many(row: Row, subject: Subject, figures: Figures) -> Work:
    """All photos in one call."""
    figures.photos = len(subject.images)
    method = ScoreCAM(
        subject.model, budget=row.budget, runtime=row.runtime, precision=subject.precision(row)
    )
    return lambda: list(method(subject.images))[: subject.compared]


def _peer(row: Row, subject: Subject, figures: Figures) -> Work:
    """One map of another package, for the layer and the class of the exact explanation."""
    try:
        call = PEERS[row.kind]()
    except ImportError as error:
        raise RowFailedError(f"the package cannot be imported: {error}") from error
    reference = subject.references[0]
    layer = subject.network.get_submodule(reference.layer)
    figures.images = 1 if row.kind == "gradcam" else len(reference.bank.activations)

    def run() -> list[Tensor]:
        call(subject.network, layer, subject.images[:1], reference.target.index)
        return []  # other algorithms, so their maps are not compared

    return run


def _plain(row: Row, subject: Subject, figures: Figures) -> Work:
    """Full batches without masks, which are on the device already."""
    engine = None if row.runtime == "eager" else _engine(row, subject)
    passes = _eager(row, subject) if engine is None else engine.scores
    layout = torch.channels_last if engine is None else engine.layout
    size = subject.batch if engine is None else engine.batch or subject.batch
    batch = subject.images[:1].repeat(size, 1, 1, 1).contiguous(memory_format=layout)
    figures.images, figures.batch = PLAIN_BATCHES * size, size

    def run() -> list[Tensor]:
        with torch.inference_mode():
            for _ in range(PLAIN_BATCHES):
                passes(batch)
        return []

    return run


def _eager(row: Row, subject: Subject) -> Callable[[Tensor], object]:
    """The network as PyTorch runs it."""
    device, half = subject.model.device.type, getattr(torch, subject.half)

    def passes(batch: Tensor) -> object:
        with torch.autocast(device, dtype=half, enabled=row.half):
            return subject.network(batch)

    return passes


def _engine(row: Row, subject: Subject) -> Engine:
    """The network in another runtime."""
    probe = AcceptingProbe(subject.images[0])
    engine = subject.model.engine(Speed(row.runtime, subject.precision(row)), probe)
    if engine.runtime != row.runtime:
        raise RowFailedError(" ".join(engine.remarks) or f"{row.runtime} was not used")
    return engine


def fidelity(heatmaps: list[Tensor], references: list[Explanation]) -> Json | None:
    """How close the maps are to the exact ones: the worst photo counts."""
    if not heatmaps:
        return None
    each = [
        compared(scaled(heatmap).cpu().numpy(), scaled(reference.heatmap).cpu().numpy())
        for heatmap, reference in zip(heatmaps, references, strict=False)
    ]
    pearsons = [one["pearson"] for one in each if one["pearson"] is not None]
    return {
        "photos": len(each),
        "pearson": min(pearsons, default=None),
        "iou": min(one["iou"] for one in each),
        "max_abs": max(one["max_abs"] for one in each),
    }
