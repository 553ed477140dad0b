"""The size of the HTML page of a run of 2,000 photos, and how fast Chromium shows it.

    python -m benchmarks.speed.page_load

A small network explains images of noise. They are blurred, so that a thumbnail is as large as that
of a detailed photograph. `scorecam audit` makes the page, with five classes in four views at 7 × 7.
Every load starts a new browser.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from playwright.sync_api import sync_playwright
from torch import nn

import scorecam
from benchmarks.common.paths import RESULTS
from scorecam import Preprocess
from scorecam.audit.auditing import audit
from scorecam.audit.report import write

SIDE, CLASSES = 112, 10
LIMITS = {"megabytes": 30.0, "first_paint_seconds": 2.0, "first_cards_seconds": 2.0}


def a_run(count: int, folder: Path) -> Path:
    """A run over this many images of noise."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the network is too small for more
    network = nn.Sequential(
        nn.Conv2d(3, 24, 16, stride=16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(24, CLASSES),
    )  # fmt: skip
    preprocess = Preprocess(
        size=(SIDE, SIDE), fit="squash", mean=(0.5, 0.5, 0.5), std=(0.1, 0.1, 0.1)
    )
    names = [f"class {number}" for number in range(CLASSES)]
    model = scorecam.open_model(network, preprocess=preprocess, labels=names)
    draw = np.random.default_rng(0)
    for number in range(count):
        place = folder / "photos" / names[number % CLASSES]
        place.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        noise = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.8))
        noise.save(place / f"{number:05}.png")
    scorecam.evaluate(
        model, folder / "photos", "scorecam", "quick", out=folder / "run", runtime="eager"
    )
    return folder / "run"


MOMENTS = """() => {
    const marks = performance.getEntriesByName("first-cards");
    const paints = performance.getEntriesByName("first-contentful-paint");
    if (!marks.length || !paints.length) return null;
    return [paints[0].startTime / 1000, marks[0].startTime / 1000];
}"""


def load(file: Path, browser: str) -> tuple[float, float]:
    """Seconds until the first paint, and until the first cards are visible."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = chromium.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(file.as_uri())
        moments = tab.wait_for_function(MOMENTS).json_value()
        chromium.close()
    return moments[0], moments[1]


def measured(count: int, loads: int, browser: str) -> dict[str, Any]:
    """Every figure, with its limit."""
    with tempfile.TemporaryDirectory() as folder:
        run = a_run(count, Path(folder))
        file = Path(folder) / "page.html"
        began = time.perf_counter()
        result = audit(run)
        read = time.perf_counter()
        write(result, file)
        written = time.perf_counter()
        size = file.stat().st_size / 1e6
        times = [load(file, browser) for _ in range(loads)]
    paints, cards = zip(*times, strict=True)
    return {
        "pictures": count,
        "megabytes": round(size, 2),
        "audit_seconds": round(read - began, 2),
        "writing_seconds": round(written - read, 2),
        "first_paint_seconds": round(statistics.median(paints), 3),
        "first_cards_seconds": round(statistics.median(cards), 3),
        "loads": [[round(paint, 3), round(card, 3)] for paint, card in times],
        "bars": LIMITS,
    }


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--browser", default=shutil.which("chromium"))
    parser.add_argument("--out", type=Path, default=RESULTS / "speed" / "page-load.json")
    arguments = parser.parse_args()
    if arguments.browser is None:
        sys.exit("Chromium is not on the PATH. Install it, or pass --browser.")
    figures = measured(arguments.pictures, arguments.loads, arguments.browser)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    for name, limit in LIMITS.items():
        verdict = "met" if figures[name] <= limit else "MISSED"
        print(f"{name}: {figures[name]} (limit {limit}): {verdict}")


if __name__ == "__main__":
    main()
