"""docs/speed.md, written from the results in benchmarks/results/: nothing in it is typed by hand.

python benchmarks/page.py
"""

from __future__ import annotations

import json
from pathlib import Path

import fidelity
import speed

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "speed.md"

OPENING = """# Speed and fidelity, measured

Made by `make bench`; the numbers behind it are in `benchmarks/results/`. Times are whole: the clock
starts when the process is up, the model opened and the photos read, so that looking for the layer,
choosing a runtime and converting the network all count. Every figure comes from a fresh process;
configurations take turns, round after round, and ratios are taken within a round. Brackets hold the
least and the largest.
"""

FIDELITY = """## What few masks keep

Against the exact float32 map, in the input's pixels. `fast` is the real thing with
`precision="auto"`; counts and tolerances are answered from the exact bank. Three classes per image:
the predicted one, the second, and one at random of the top 20, each of them asked for. Maps of
equal weights reach a Pearson correlation of about 0.95 already: look at the overlap too. *largest
error* is that of the scaled map, and *error ≤ stated* how often `explanation.error` covers it.
"""


def main() -> None:
    """Write the page."""
    parts = [OPENING]
    for file in sorted(RESULTS.glob("speed-*.json"), key=lambda file: file.stem):
        report = json.loads(file.read_text())
        parts.append(f"## Beside other packages ({file.stem.removeprefix('speed-')})\n")
        if report["settings"].get("note"):
            parts.append(report["settings"]["note"] + "\n")
        parts.append("\n".join(speed.tables(report)) + "\n")
    parts.append(FIDELITY)
    found = sorted(RESULTS.glob("fidelity*.json"), key=lambda file: file.stem)
    parts.extend("\n".join(fidelity.table(json.loads(file.read_text()))) for file in found)
    PAGE.write_text("\n".join(parts).rstrip() + "\n")


if __name__ == "__main__":
    main()
