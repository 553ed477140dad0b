"""Fuzz every kind of foreign file, and print a table.

    python tests/fuzz/run.py --minutes 60 [--seed N] [--kinds photo,bank] [--jobs 2]

The exit code is 1 if an input failed. Failing inputs are saved in `tests/fuzz/corpus`, where
`test_corpus.py` uses them as regression tests.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kinds import KINDS

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
EXTRA_SECONDS = 120
"""How much longer a process may take, to start, shrink inputs and exit."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    names = options.kinds.split(",")
    if unknown := [name for name in names if name not in KINDS]:
        parser.error(f"no kind {unknown[0]!r}; known are {', '.join(KINDS)}")
    total = sum(KINDS[name].weight for name in names)
    share = options.minutes * 60 * options.jobs / total
    with ThreadPoolExecutor(options.jobs) as pool, tempfile.TemporaryDirectory() as cache:
        jobs = [
            pool.submit(fuzz, name, share * KINDS[name].weight, options.seed, cache)
            for name in sorted(names, key=lambda name: -KINDS[name].weight)
        ]
        return report([job.result() for job in jobs])


def fuzz(name: str, seconds: float, seed: int, cache: str) -> dict[str, Any]:
    """Fuzz one kind in its own process; a process that dies counts as a fault."""
    command = [sys.executable, str(HERE / "child.py"), name, "--seconds", f"{seconds:.1f}"]
    command += ["--seed", str(seed), "--corpus", str(CORPUS)]
    settings = {"OMP_NUM_THREADS": "1", "SCORECAM_CACHE": cache, "FUZZ_CORPUS": str(CORPUS)}
    settings["PYTHONPATH"] = str(HERE.parent / "helpers")
    try:
        done = subprocess.run(
            command,
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=seconds + EXTRA_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"kind": name, "faults": {"": "the process did not end"}}
    if done.returncode:
        output = (done.stdout + done.stderr)[-2000:]
        return {"kind": name, "faults": {"": f"the process ended with {done.returncode}: {output}"}}
    return json.loads(done.stdout.splitlines()[-1])


def report(tallies: list[dict[str, Any]]) -> int:
    """Print a line for each kind, and every fault; return 1 if there is a fault."""
    print(f"{'kind':<16}{'inputs':>8}{'refused':>9}{'slowest s':>11}{'peak MiB':>10}{'faults':>8}")
    total = 0
    for tally in tallies:
        refused = tally.get("refused", 0)
        inputs = tally.get("accepted", 0) + refused
        slowest, peak = tally.get("slowest", 0), tally.get("largest", 0) / 2**20
        faults = len(tally["faults"])
        print(f"{tally['kind']:<16}{inputs:>8}{refused:>9}{slowest:>11.2f}{peak:>10.0f}{faults:>8}")
        total += inputs
    print(f"{'all':<16}{total:>8}")
    found_faults = False
    for tally in tallies:
        for name, trace in tally["faults"].items():
            print(f"\n── {tally['kind']} {name}\n{trace}")
            found_faults = True
    return int(found_faults)


if __name__ == "__main__":
    sys.exit(main())
