"""Write docs/gpu.md from the results in benchmarks/results/gpu/.

python -m benchmarks.gpu.gpu_page
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator

from benchmarks.common.markdown import table
from benchmarks.common.paths import DOCS, RESULTS
from benchmarks.gpu.rows import COMPILED, ROWS, Json, Row

NOT_RUN = """# Speed on a graphics card

**These measurements have not been run on a card: none was at hand.** There are no numbers here, and
none should be inferred from [speed.md](speed.md), which is about processors. The script was only
tried on a processor, with small networks.

"""

HEAD = """# Speed on a graphics card

"""

METHOD = """## How it is measured

    make bench-gpu

This takes at most six minutes on one card. It needs what scorecam itself needs, torchcam and
grad-cam, and downloads nothing. ResNet50 and VGG16 have random weights; EfficientNet-Lite0 is
measured too if its weights are installed. The photos are crops of the one in the package. Results
are written as they arrive, to a file with the card's name, and this page is made from them.

* Rows take turns, round after round. Every call ends with `torch.cuda.synchronize`. The first call
  of each row is not counted. Brackets hold the smallest and the largest time.
* *images per second* counts passes of the network: masked images, or plain ones.
* *% of plain* is that number divided by the one of plain passes in the same runtime and precision.
  Plain passes are full batches that are already on the card.
* *MiB* is the most memory that PyTorch allocated on the card during a call, above what it held
  before.
* *Pearson*, *IoU* (of the top 20 %) and *largest error* compare scaled maps with the exact map in
  float32 without TF32. For many photos in one call, the worst of four photos counts. The maps of
  the other packages are of other variants, so they are not compared.
* The other packages get 128 images per pass, as many as scorecam takes.
* Convolutions in float32 use TF32 in all rows, as PyTorch does by default.
* The runtimes with a CUDA graph belong to this benchmark. scorecam does not offer them: `eager`
  and `compile` are its own.
* Fidelity on many photos of trained networks is measured on a processor: see
  [speed.md](speed.md).
"""

LABELS = """
The rows:

"""


def page() -> str:
    """The Markdown of docs/gpu.md."""
    files = sorted((RESULTS / "gpu").glob("*.json"))
    return page_of([json.loads(file.read_text("utf-8")) for file in files])


def page_of(reports: list[Json]) -> str:
    """The page for the results of each card."""
    if not reports:
        rows = "".join(f"* {labelled(row, 'half precision')}\n" for row in all_rows().values())
        return NOT_RUN + METHOD + LABELS + rows
    return HEAD + "\n".join(part for report in reports for part in section(report)) + "\n" + METHOD


def all_rows() -> dict[str, Row]:
    """Every row, in the order of the tables."""
    return {**ROWS, **COMPILED}


def labelled(row: Row, half: str) -> str:
    """The label of a row with the name of the half precision."""
    return row.label.replace("HALF", half)


def section(report: Json) -> Iterator[str]:
    """The tables of one card."""
    machine, settings = report["machine"], report["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    yield f"## {machine.get('gpu', machine['processor'])}\n"
    yield f"{report['date']}; {versions}\n"
    if "seconds" not in report:
        yield f"The time limit of {settings['limit']:.0f} s ended this run: rows may be missing.\n"
    for name, network in report["networks"].items():
        if network.get("rows"):
            yield from network_tables(name, network, settings["half"])


def network_tables(name: str, network: Json, half: str) -> Iterator[str]:
    """The table of one network, with the rows that failed below it."""
    sides = " × ".join(map(str, network["input"][1:]))
    yield (
        f"**{name}**, input {sides}, layer `{network['layer']}`: {network['channels']} channels, "
        f"of which {network['live']} are not flat\n"
    )
    rows = network["rows"]
    head = ["", "ms per photo", "images per s", "% of plain", "times torchcam", "MiB"]
    head += ["images per pass", "Pearson", "IoU", "largest error"]
    measured = [key for key in all_rows() if rows.get(key, {}).get("seconds")]
    yield table(head, [cells(key, rows, half) for key in measured])
    for key, row in all_rows().items():
        if key in rows and not rows[key]["seconds"]:
            why = rows[key]["failure"] or "there was no time left for it"
            yield f"Not measured: {labelled(row, half)} ({why}).\n"


def cells(key: str, rows: Json, half: str) -> list[str]:
    """One row of the table."""
    row, figures = all_rows()[key], rows[key]
    seconds = [each / figures["photos"] for each in figures["seconds"]]
    label = labelled(row, half)
    if figures["photos"] > 1:
        label = label.replace("many", str(figures["photos"]))
    rate, floor = images_per_second(figures), images_per_second(rows.get(row.plain, {}))
    peer = rows.get("torchcam", {}).get("seconds")
    explains = row.kind != "plain" and peer
    times = statistics.median(peer) / statistics.median(seconds) if explains else None
    fidelity = figures["fidelity"] or {}
    return [
        label,
        "" if row.kind == "plain" else milliseconds(seconds),
        "" if rate is None or row.kind == "gradcam" else f"{rate:,.0f}",
        "" if rate is None or floor is None else f"{100 * rate / floor:.0f}",
        shown(times, ".3g"),
        f"{figures['peak_mib']:,.0f}",
        shown(figures["batch"] or None, "d"),
        shown(fidelity.get("pearson"), ".5f"),
        shown(fidelity.get("iou"), ".3f"),
        shown(fidelity.get("max_abs"), ".2g"),
    ]


def images_per_second(figures: Json) -> float | None:
    """Passes of the network per second; None if they were not counted."""
    if not figures.get("seconds") or not figures["images"]:
        return None
    return figures["images"] / statistics.median(figures["seconds"])


def milliseconds(seconds: list[float]) -> str:
    """The median, with the smallest and the largest."""
    low, middle, high = (1000 * f(seconds) for f in (min, statistics.median, max))
    return f"{middle:.3g} ({low:.3g}–{high:.3g})"


def shown(number: float | None, form: str) -> str:
    """A number, or nothing."""
    return "" if number is None else f"{number:{form}}"


def main() -> None:
    """Write the page."""
    (DOCS / "gpu.md").write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
