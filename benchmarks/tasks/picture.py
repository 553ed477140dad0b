"""Draw the boxes of one rendered scene with their maps: docs/images/boxes.png.

python -m benchmarks.tasks.picture
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import scorecam
from benchmarks.tasks.network import trained
from benchmarks.tasks.scenes import NAMES, render
from benchmarks.tasks.train import batch_of
from scorecam.tasks import Detect

OUT = Path(__file__).parents[2] / "docs/images/boxes.png"
SEED = 5


def main() -> None:
    """Explain the boxes of a scene, and draw them."""
    model = scorecam.open_model(trained(), labels=list(NAMES), task=Detect(threshold=0.5))
    scene = render(np.random.default_rng(SEED))
    explanation = scorecam.explain(model, batch_of([scene])[0])
    explanation.overlays(columns=4).save(OUT)


if __name__ == "__main__":
    main()
