"""Draw the maps of deployed forms of EfficientNet-Lite0 next to PyTorch's.

    python -m benchmarks.deployed.picture --photos PHOTOS --work WORK

It writes docs/images/deployed.jpg. The photos are the bundled cat, and the ones on which the int8
forms differ most from PyTorch, as measure.py found them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import scorecam
from benchmarks.common.paths import DOCS, ROOT
from benchmarks.deployed.deployed_page import results
from benchmarks.deployed.forms import measured
from benchmarks.deployed.measure import REFERENCE, SUBJECTS, opened

FORMS = (REFERENCE, "ONNX float16", "ONNX int8 QDQ", "OpenVINO int8")
WIDTH = 300


def photos(folder: Path) -> list[Path]:
    """The photos of the picture."""
    found = results("exact")
    if found is None:
        raise SystemExit("Run benchmarks.deployed.measure --budget exact first.")
    paths = {sample.name: sample.path for sample in measured(folder).samples}
    worst = [found["forms"][form]["worst photo"] for form in FORMS[2:]]
    return [ROOT / "src/scorecam/data/chelsea.jpg", *(paths[name] for name in dict.fromkeys(worst))]


def main() -> None:
    """Draw one row per photo and one column per form."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=Path("out/photos/composites"))
    parser.add_argument("--work", type=Path, default=Path("out/deployed"))
    options = parser.parse_args()
    models = [(form, opened(SUBJECTS[form], options.work)) for form in FORMS]
    rows: list[list[Image.Image]] = []
    for path in photos(options.photos):
        row: list[Image.Image] = []
        target: int | None = None
        for form, model in models:
            explanation = scorecam.explain(model, str(path), target)
            target = explanation.target.index
            picture = explanation.overlay()
            row.append(picture.resize((WIDTH, round(WIDTH * picture.height / picture.width))))
            print(f"{path.name}, {form}: {explanation.target.name}", flush=True)
        rows.append(row)
    height = sum(row[0].height for row in rows)
    whole = Image.new("RGB", (WIDTH * len(FORMS), height), "white")
    top = 0
    for row in rows:
        for column, picture in enumerate(row):
            whole.paste(picture, (column * WIDTH, top))
        top += row[0].height
    whole.save(DOCS / "images/deployed.jpg", quality=85, optimize=True)


if __name__ == "__main__":
    main()
