"""The time and the memory of the working tree, compared with another commit.

    python -m benchmarks.speed.against COMMIT

Both versions run in turn, in processes of their own, on the same photo and network. Every process
measures each case once cold and several times warm. The ratio of a case is this tree's time over
the other commit's, round by round; its interval is a 95 % bootstrap interval of the median.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.paths import RESULTS

ROOT = Path(__file__).parents[2]
WARM = 5

CHILD = """
import json, resource, sys, time
began = time.perf_counter()
import torch, scorecam
torch.set_num_threads(2)
found = {"import": time.perf_counter() - began}
if not scorecam.__file__.startswith(sys.argv[2]):
    raise RuntimeError(scorecam.__file__)
photo = sys.argv[1]
def timed(name, repeat, **settings):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        scorecam.explain(model, photo, **settings)
        times.append(time.perf_counter() - start)
    found[name + ", first"] = times[0]
    found[name + ", warm"] = sorted(times[1:])[len(times) // 2 - 1]
model = scorecam.open_model("lite0")
timed("fast, openvino", 1 + WARM, budget="fast", runtime="openvino")
timed("64 masks, eager", 2, budget=64, runtime="eager")
found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps(found))
""".replace("WARM", str(WARM))


def measured(source: Path) -> dict[str, float]:
    """One process with the package at `source`."""
    photo = ROOT / "src/scorecam/data/chelsea.jpg"
    environment = os.environ | {"PYTHONPATH": str(source)}
    command = [sys.executable, "-c", CHILD, str(photo), str(source)]
    # ruff: noqa: S603, S607  (commands of this file)
    out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(out.stdout.splitlines()[-1])


def interval(ratios: list[float]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median."""
    draws = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    low, high = np.quantile(np.median(draws, axis=1), (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    """Measure, print and write the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit")
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", options.commit, "src"], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        places = {"here": ROOT / "src", "there": Path(folder) / "src"}
        for number in range(-1, options.rounds):  # the first round fills caches
            order = list(places) if number % 2 else list(places)[::-1]
            found = {name: measured(places[name]) for name in order}
            if number >= 0:
                rounds.append(
                    {case: found["here"][case] / found["there"][case] for case in found["here"]}
                )
    report: dict[str, Any] = {"commit": options.commit, "rounds": options.rounds, "ratios": {}}
    for case in rounds[0]:
        ratios = [each[case] for each in rounds]
        low, high = interval(ratios)
        report["ratios"][case] = {"median": statistics.median(ratios), "low": low, "high": high}
        print(f"{case}: {statistics.median(ratios):.3f} [{low:.3f}, {high:.3f}]", flush=True)
    (RESULTS / "speed/against.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
