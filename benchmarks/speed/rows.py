"""The configurations that are compared: one row each in the tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One configuration.

    Args:
        label: its name in the tables.
        kind: who computes it: "ours", "peer", "cheap", "floor" or "plain".
        keywords: the settings that scorecam is called with.
        many: explain many photos in one call.
        again: measure a second time in the same process, after any conversion.
        of: the row that a floor repeats; it makes as many passes.
        batch: images per plain forward pass.
        once: take part in the first round only.
    """

    label: str
    kind: str
    keywords: Json = field(default_factory=dict)
    many: bool = False
    again: bool = False
    of: str = ""
    batch: int = 0
    once: bool = False


FAST = {"budget": "fast", "precision": "auto"}
ROWS = {
    "torchcam": Row("torchcam", "peer"),
    "grad-cam": Row("grad-cam", "peer", once=True),
    "exact-eager": Row("exact, float32, eager", "ours", {"runtime": "eager"}, once=True),
    "exact-auto": Row("exact, float32", "ours", {"runtime": "auto"}, again=True),
    "exact-half": Row("exact, precision auto", "ours", {"precision": "auto"}, again=True),
    "fast": Row("fast, precision auto", "ours", FAST, again=True),
    "fast16": Row("fast, precision auto, many photos", "ours", FAST, many=True),
    "gradcam": Row("Grad-CAM (another method)", "cheap"),
    "floor-eager": Row(
        "as many plain passes, as exact eager", "floor", of="exact-eager", once=True
    ),
    "floor-auto": Row("as many plain passes, as exact float32", "floor", of="exact-auto"),
    "floor-half": Row("as many plain passes, as exact auto", "floor", of="exact-half"),
    "plain32": Row("plain forward, eager, batch 32", "plain", batch=32, once=True),
    "plain8": Row("plain forward, eager, batch 8", "plain", batch=8, once=True),
}
PEERS = [key for key, row in ROWS.items() if row.kind == "peer"]
OURS = [key for key, row in ROWS.items() if row.kind == "ours"]
