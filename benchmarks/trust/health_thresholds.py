"""Where the thresholds of the health notes come from.

For every photo in the folders given: explain the prediction with each variant, and note what each
rule measures. Prints the percentiles over all photos, for thresholds that a sound network on
ordinary photos rarely crosses.

    python benchmarks/health.py --model lite0 FOLDER...
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
    parser = argparse.ArgumentParser(description=__doc__)
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
