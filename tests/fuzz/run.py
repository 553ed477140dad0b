"""Fuzz every kind of foreign file, and print a table.

    python tests/fuzz/run.py --minutes 60 [--seed N] [--kinds photo,bank] [--jobs 2]

Ends with 1 if an input was at fault; it is then in `tests/fuzz/corpus`, where `test_corpus.py`
keeps it as a regression once it is mended.
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
STARTING = 120
"""Seconds that a process may take beyond its time, to start, shrink and end."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    names = chosen.kinds.split(",")
    if unknown := [name for name in names if name not in KINDS]:
        parser.error(f"there is no kind {unknown[0]!r}; there are {', '.join(KINDS)}")
    total = sum(KINDS[name].weight for name in names)
    share = chosen.minutes * 60 * chosen.jobs / total
    with ThreadPoolExecutor(chosen.jobs) as pool, tempfile.TemporaryDirectory() as cache:
        jobs = [
            pool.submit(fuzz, name, share * KINDS[name].weight, chosen.seed, cache)
            for name in sorted(names, key=lambda name: -KINDS[name].weight)
        ]
        return report([job.result() for job in jobs])


def fuzz(name: str, seconds: float, seed: int, cache: str) -> dict[str, Any]:
    """One kind in a process of its own; a process that dies is a fault as well."""
    command = [sys.executable, str(HERE / "child.py"), name, "--seconds", f"{seconds:.1f}"]
    command += ["--seed", str(seed), "--corpus", str(CORPUS)]
    limits = {"OMP_NUM_THREADS": "1", "SCORECAM_CACHE": cache, "FUZZ_CORPUS": str(CORPUS)}
    try:
        done = subprocess.run(
            command,
            env=os.environ | limits,
            capture_output=True,
            text=True,
            timeout=seconds + STARTING,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"kind": name, "faults": {"": "the process did not end"}}
    if done.returncode:
        said = (done.stdout + done.stderr)[-2000:]
        return {"kind": name, "faults": {"": f"the process ended with {done.returncode}: {said}"}}
    return json.loads(done.stdout.splitlines()[-1])


def report(found: list[dict[str, Any]]) -> int:
    """Print a line per kind and every fault; 1 if there is one."""
    print(f"{'kind':<16}{'inputs':>8}{'refused':>9}{'slowest s':>11}{'peak MiB':>10}{'faults':>8}")
    for each in found:
        accepted, refused = each.get("accepted", 0), each.get("refused", 0)
        print(
            f"{each['kind']:<16}{accepted + refused:>8}{refused:>9}{each.get('slowest', 0):>11.2f}"
            f"{each.get('largest', 0) / 2**20:>10.0f}{len(each['faults']):>8}"
        )
    print(f"{'all':<16}{sum(e.get('accepted', 0) + e.get('refused', 0) for e in found):>8}")
    faults = [(each["kind"], *fault) for each in found for fault in each["faults"].items()]
    for kind, name, said in faults:
        print(f"\n── {kind} {name}\n{said}")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
