"""What is measured on a card: one row each in the table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["plain", "torchcam", "grad-cam", "gradcam", "one", "five", "many"]


@dataclass(frozen=True)
class Row:
    """One row.

    Args:
        label: its name in the table; HALF stands for the card's half precision.
        kind: plain passes; Score-CAM of another package, or its Grad-CAM; or ours: a new
            explanation of one photo, of its five most likely classes, or of many photos in one
            call.
        runtime: what runs the network.
        half: whether it computes in half precision.
        budget: of our rows.
        plain: the row of plain passes in the same runtime and precision.
    """

    label: str
    kind: Kind
    runtime: str = "eager"
    half: bool = False
    budget: Literal["exact", "fast"] = "exact"
    plain: str = ""


@dataclass
class Figures:
    """What was measured for one row.

    Args:
        first_seconds: of the first call, with everything that is done once.
        seconds: of each later call.
        images: passes of the network in one call; 0 if not known.
        photos: explained in one call.
        peak_mib: the most memory of a call above that before it; on the card, if there is one.
        runtime, precision: what ran.
        batch: images per pass.
        fidelity: compared with the exact map in float32; the worst of several photos.
        remarks: of scorecam.
        failure: why there are no figures.
    """

    first_seconds: float | None = None
    seconds: list[float] = field(default_factory=list[float])
    images: int = 0
    photos: int = 1
    peak_mib: float = 0.0
    runtime: str = "eager"
    precision: str = "float32"
    batch: int = 0
    fidelity: Json | None = None
    remarks: list[str] = field(default_factory=list[str])
    failure: str = ""


def _ours(label: str, runtime: str = "eager", *, half: bool = True, plain: str) -> Row:
    """A row of all masks of one photo."""
    return Row(label, "one", runtime, half=half, plain=plain)


ROWS = {
    "plain": Row("plain passes, float32", "plain"),
    "plain-half": Row("plain passes, HALF", "plain", half=True),
    "torchcam": Row("Score-CAM of torchcam", "torchcam", plain="plain"),
    "grad-cam": Row("Score-CAM of grad-cam", "grad-cam", plain="plain"),
    "gradcam": Row("Grad-CAM of torchcam (another method)", "gradcam"),
    "exact": _ours("exact, float32", half=False, plain="plain"),
    "exact-half": _ours("exact, HALF", plain="plain-half"),
    "five": Row("exact, HALF, five classes", "five", half=True, plain="plain-half"),
    "fast": Row("fast, HALF", "one", half=True, budget="fast", plain="plain-half"),
    "many": Row("fast, HALF, many photos in one call", "many", half=True, budget="fast"),
    # Last, because an error while a graph is recorded may leave the card unusable.
    "plain-graph": Row("plain passes, HALF, CUDA graph", "plain", "cuda-graph", half=True),
    "exact-graph": _ours("exact, HALF, CUDA graph", "cuda-graph", plain="plain-graph"),
}
"""In the order in which each round measures them."""

COMPILED = {
    "plain-compile": Row("plain passes, HALF, compile", "plain", "compile", half=True),
    "exact-compile": _ours("exact, HALF, compile", "compile", plain="plain-compile"),
    "plain-compile-graph": Row(
        "plain passes, HALF, compile and CUDA graph", "plain", "compile-graph", half=True
    ),
    "exact-compile-graph": _ours(
        "exact, HALF, compile and CUDA graph", "compile-graph", plain="plain-compile-graph"
    ),
}
"""Rows that compile the network first, which takes about a minute. They are measured last."""
