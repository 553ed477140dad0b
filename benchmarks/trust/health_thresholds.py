"""The distribution of the values behind the health notes, for choosing their thresholds.

    python -m benchmarks.trust.health_thresholds --model lite0 FOLDER...

The predicted class of every photo is explained with each variant, and each rule is measured. The
script prints percentiles over all photos. A sound network on ordinary photos should rarely cross a
threshold.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import scorecam
from scorecam.bank import health
from scorecam.cam import VARIANTS

PHOTOS = {".jpg", ".jpeg", ".png"}
PERCENTILES = (0.05, 0.5, 0.95, 0.99, 1.0)


def main() -> None:
    """Measure, and print one table per variant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="lite0")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--limit", type=int, default=None)
    options = parser.parse_args()
    photos = sorted(
        path
        for folder in options.folders
        for path in folder.rglob("*")
        if path.suffix.lower() in PHOTOS
    )[: options.limit]
    model = scorecam.open_model(options.model, device=options.device)
    measured: dict[str, dict[str, list[float]]] = {name: {} for name in VARIANTS}
    for photo in photos:
        explained = scorecam.explain(model, photo, batch_size="auto")
        for name, columns in measured.items():
            shown = explained.of(variant=name)
            for column, value in health.measure(
                shown.bank, shown.target, shown.variant, shown.heatmap
            ).items():
                columns.setdefault(column, []).append(value)
    print(f"{options.model}, {len(photos)} photos, predicted class")
    for name, columns in measured.items():
        print(f"\n{name:<24}" + "".join(f"{p:>10.0%}" for p in PERCENTILES))
        for column, values in columns.items():
            at = torch.tensor(values).quantile(torch.tensor(PERCENTILES))
            print(f"{column:<24}" + "".join(f"{float(value):>10.3g}" for value in at))


if __name__ == "__main__":
    main()
