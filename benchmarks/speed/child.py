"""A measurement in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.speed.job import Job
from benchmarks.speed.rows import Json

TUNING = ("OMP_", "MKL_", "MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""How variables begin that change how fast a process is."""


def environment() -> dict[str, str]:
    """The environment without settings that would change what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith(TUNING)}


class FailedError(Exception):
    """The child process ended without a figure."""


def run(job: Job, photos: Path, cache: Path | None = None) -> Json:
    """Do the job in a fresh process.

    Args:
        photos: the folder of the data sets.
        cache: where conversions are kept on disk; None for an empty folder.

    Raises:
        FailedError: the process failed; the message is its last line.
    """
    command = [sys.executable, "-m", "benchmarks.speed.one", f"{job.network}:{job.row}"]
    command += ["--device", job.device, "--photos", str(photos)]
    command += ["--many", str(len(job.photos)), "--at", str(job.at), "--runtime", job.runtime]
    for name, value in (("layer", job.layer), ("target", job.target), ("maps", job.maps)):
        if value is not None:
            command += [f"--{name}", str(value)]
    if job.floor is not None:
        command += ["--floor", ",".join(map(str, job.floor))]
    load, began = os.getloadavg()[0], time.perf_counter()
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            check=False,
            env=environment() | {"SCORECAM_CACHE": str(cache or empty)},
        )
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        errors = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise FailedError(errors[-1])
    wall = time.perf_counter() - began
    return {**json.loads(lines[-1]), "load_before": load, "process_seconds": wall}
