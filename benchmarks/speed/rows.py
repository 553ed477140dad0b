"""The configurations that are compared: one row each in the tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

MEASURED, TINY = "lite0,resnet50,vgg16,dinov2", "tiny"
"""The networks of the tables, and the one to try the scripts on."""

THREADS = 2


@dataclass(frozen=True)
class Row:
    """One configuration.

    Args:
        label: its name in the tables.
        kind: who computes it: "ours", "peer", "cheap", "warm", "busy" or "floor".
        keywords: the settings that scorecam is called with.
        rounds: in how many rounds it is measured.
        many: explain many photos in one call.
        again: measure a second time in the same process, after any conversion.
        cached: conversions of an earlier process are on disk. Otherwise the cache is empty.
        of: the row that a floor repeats; it makes as many passes.
    """

    label: str
    kind: str
    keywords: Json = field(default_factory=dict)
    rounds: int = 1
    many: bool = False
    again: bool = False
    cached: bool = False
    of: str = ""


FAST = {"budget": "fast", "precision": "auto"}
ROWS = {
    "torchcam": Row("torchcam", "peer", rounds=2),
    "grad-cam": Row("grad-cam", "peer"),
    "exact-eager": Row("exact, float32, eager", "ours", {"runtime": "eager"}),
    "exact-auto": Row("exact, float32", "ours", {"runtime": "auto"}, again=True),
    "exact-half": Row("exact, precision auto", "ours", {"precision": "auto"}, rounds=2, again=True),
    "fast": Row("fast, precision auto", "ours", FAST, rounds=3, again=True),
    "fast-cached": Row(
        "fast, precision auto, converted by an earlier process",
        "ours",
        FAST,
        rounds=3,
        again=True,
        cached=True,
    ),
    "fast16": Row("fast, precision auto, many photos", "ours", FAST, rounds=3, many=True),
    "fast16-cached": Row(
        "fast, precision auto, many photos, converted by an earlier process",
        "ours",
        FAST,
        rounds=3,
        many=True,
        cached=True,
    ),
    "warm": Row("fast, precision auto, warm, photo after photo", "warm", FAST, rounds=2),
    "busy": Row("fast, precision auto, after a busy machine", "busy", FAST),
    "gradcam": Row("Grad-CAM of torchcam (another method), first call", "cheap", rounds=3),
    "floor-eager": Row("as many plain passes, as exact eager", "floor", of="exact-eager"),
    "floor-auto": Row("as many plain passes, as exact float32", "floor", of="exact-auto"),
    "floor-half": Row("as many plain passes, as exact auto", "floor", rounds=2, of="exact-half"),
}
PEER = "torchcam"
"""The row that times are compared with."""

OURS = [key for key, row in ROWS.items() if row.kind == "ours"]
