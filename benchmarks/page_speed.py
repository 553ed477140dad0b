"""How heavy a page of 2,000 pictures is, and how soon one sees it in Chromium.

    python benchmarks/page_speed.py --out benchmarks/results/page.json

Each picture has 5 classes in 4 views at 7 × 7. The pictures are noise, blurred so that a
thumbnail takes as many bytes as one of a photograph with much detail. A load is cold: a new
browser each time.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from playwright.sync_api import sync_playwright

from scorecam.page import Finding, Page, Picture, Shown, write

VIEWS = ("official", "algorithm1", "increase", "consensus")
NAMES = [f"class {index}" for index in range(100)]
BARS = {"megabytes": 30.0, "first_paint_seconds": 2.0, "first_cards_seconds": 2.0}


def noise(draw: np.random.Generator) -> bytes:
    """A JPEG of noise, blurred a little."""
    pixels = draw.integers(0, 256, (112, 112, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.8))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=70)
    return file.getvalue()


def picture(number: int, draw: np.random.Generator) -> Picture:
    """A picture whose label is not the prediction in one of three."""
    wrong = number % 3 == 0
    roles = ["predicted", "label, target"] if wrong else ["label, predicted, target", ""]
    chances = np.sort(draw.dirichlet(np.ones(6)))[::-1]
    classes = tuple(
        Shown(
            NAMES[int(draw.integers(len(NAMES)))],
            float(chances[place]),
            roles[place] if place < 2 else "",
            {view: draw.integers(0, 256, (7, 7), dtype=np.uint8) for view in VIEWS},
        )
        for place in range(5)
    )
    grid = draw.integers(0, 256, (7, 7), dtype=np.uint8)
    return Picture(
        id=str(number),
        name=f"validation/{number:08d}.jpg",
        jpeg=noise(draw),
        classes=classes,
        contrast=("one rather than the other", grid) if wrong else None,
        facts={f"measure {place}": float(draw.random()) for place in range(8)},
        tags=("wrong",) if wrong else ("right",),
        words=("The outer tenth along the edges holds 1.31 times what it would.",) * (number % 2),
    )


def page(count: int, seed: int = 0) -> Page:
    """A page of so many pictures, and a few findings about them."""
    draw = np.random.default_rng(seed)
    findings = tuple(
        Finding(f"rule {place}", level, "Something was found.", ("A number.",), "", ("0", "1"))
        for place, level in enumerate(("problem", "warning", "note"))
    )
    pictures = tuple(picture(number, draw) for number in range(count))
    return Page("A large run", "Made of noise.", (("Pictures", str(count)),), findings, pictures)


MOMENTS = """() => {
    const marks = performance.getEntriesByName("first-cards");
    const paints = performance.getEntriesByName("first-contentful-paint");
    if (!marks.length || !paints.length) return null;
    return [paints[0].startTime / 1000, marks[0].startTime / 1000];
}"""


def load(file: Path, browser: str) -> tuple[float, float]:
    """Seconds until the first paint, and until the first cards can be seen."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = chromium.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(file.as_uri())
        moments = tab.wait_for_function(MOMENTS).json_value()
        chromium.close()
    return moments[0], moments[1]


def measured(count: int, loads: int, browser: str) -> dict[str, Any]:
    """Everything, with the bars that it is held against."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        content = page(count)
        began = time.perf_counter()
        write(content, file)
        seconds = time.perf_counter() - began
        size = file.stat().st_size / 1e6
        found = [load(file, browser) for _ in range(loads)]
    paints, cards = zip(*found, strict=True)
    return {
        "pictures": count,
        "megabytes": round(size, 2),
        "jpeg_bytes": round(statistics.mean(len(each.jpeg or b"") for each in content.pictures)),
        "writing_seconds": round(seconds, 2),
        "first_paint_seconds": round(statistics.median(paints), 3),
        "first_cards_seconds": round(statistics.median(cards), 3),
        "loads": [[round(paint, 3), round(card, 3)] for paint, card in found],
        "bars": BARS,
    }


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description="The page's weight and speed.")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--browser", default=shutil.which("chromium"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/page.json"))
    arguments = parser.parse_args()
    if arguments.browser is None:
        sys.exit("There is no chromium on the PATH: install it, or give --browser.")
    found = measured(arguments.pictures, arguments.loads, arguments.browser)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    for name, bar in BARS.items():
        print(f"{name}: {found[name]} (bar {bar}): {'met' if found[name] <= bar else 'MISSED'}")


if __name__ == "__main__":
    main()
