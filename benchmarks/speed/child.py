"""A measurement in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.speed.job import Job
from benchmarks.speed.rows import Json


class FailedError(Exception):
    """The child process ended without a figure."""


def run(job: Job, photos: Path) -> Json:
    """Do the job in a fresh process.

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
    load = os.getloadavg()[0]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        errors = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise FailedError(errors[-1])
    return {**json.loads(lines[-1]), "load_before": load}
