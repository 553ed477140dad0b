"""Write docs/speed.md from the results in benchmarks/results/speed/.

python -m benchmarks.speed.speed_page
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.common.paths import DOCS, RESULTS
from benchmarks.speed import fidelity_report, profile, report, targets
from benchmarks.speed.figures import summarised
from benchmarks.speed.rows import Json

TARGETS = """## Targets

A ratio to torchcam divides two medians; its brackets hold the smallest and the largest quotient of
any two rounds. Brackets of warm ratios hold the 5th and the 95th percentile over photos, those of
other ratios the smallest and the largest round. Numbers in bold miss their bar. Run a command with
`python -m`. A cache is warm if an earlier process has explained sixteen photos of the network.
"""

COMPARED = """## Compared with other packages

The clock starts when the process runs, the model is open and the photos are read. Times therefore
include the search for the layer, the choice of a runtime and the conversion of the network. Every
figure comes from a fresh process with an empty cache of conversions, unless its row says otherwise.
Configurations take turns, round after round. Brackets hold the smallest and the largest value. All
packages explain the same layer and class in float32, on two threads. ResNet50 and VGG16 have random
weights, which cost as much as trained ones. dinov2 is DINOv2-S/14 with a linear probe; torchcam and
grad-cam get its tokens as a grid, without the class token, through their `reshape_transform`.
"""

FIDELITY = """## Fidelity of reduced budgets

Maps are compared with the exact float32 map, in the input's pixels. `fast` is a new explanation
with `precision="auto"`. Counts and tolerances are replayed from the exact bank. Each image is
explained for three classes: the predicted one, the second, and a random one of the top 20. A map
with equal weights already reaches a Pearson correlation of about 0.95, so look at the overlap too.
*largest error* is that of the scaled map. *error ≤ stated* is the share of maps with an error of at
most `explanation.error`.
"""

UNSEEN = "No constant was chosen on any of these photos."


def page() -> str:
    """The Markdown of docs/speed.md."""
    return "\n".join(_parts()).rstrip() + "\n"


def _parts() -> Iterator[str]:
    speed = summarised(_read("speed-cpu"))
    profiled, fidelity = _read("profile"), _read("fidelity")
    yield "# Speed and fidelity, measured\n"
    yield from targets.first_lines(speed)
    yield "\nMade by `make bench` from one run of each script; no number is edited by hand.\n"
    yield TARGETS
    yield from targets.table(targets.targets(speed, profiled, fidelity))
    yield f"\n{COMPARED}"
    yield from report.tables(speed)
    if profiled:
        yield ""
        yield from profile.tables(profiled)
    if fidelity:
        yield f"\n{FIDELITY}"
        if fidelity.get("unseen"):
            yield f"{UNSEEN}\n"
        yield from fidelity_report.table(fidelity)


def _read(name: str) -> Json:
    """A file of results; empty if there is none."""
    file = RESULTS / "speed" / f"{name}.json"
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}


def main() -> None:
    """Write the page."""
    (DOCS / "speed.md").write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
