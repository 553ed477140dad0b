"""Fuzz one kind of file in a process with limits; print the results as one line of JSON.

    python tests/fuzz/child.py KIND --seconds S --seed N --corpus FOLDER

An input fails if reading it raises anything but a `ScorecamError`, takes more than `MAX_SECONDS`,
raises the process's memory by more than `MAX_MEMORY`, starts a program or a connection, writes
outside the working folder, or ends in an error longer than `MAX_CHARACTERS`. Hypothesis shrinks
failing inputs, and the corpus keeps them.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import hashlib
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.configuration

import scorecam
from kinds import KINDS, Kind

MAX_SECONDS = 10
MAX_MEMORY = 1 << 30
MAX_CHARACTERS = 600
INPUTS_PER_ROUND = 100

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FORBIDDEN = ("socket.connect", "os.fork", "os.posix_spawn", "os.exec", "os.system")


class Fault(Exception):
    """An input broke a limit or had a side effect."""


@dataclass
class Tally:
    """The results of all inputs of one kind."""

    kind: str
    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    largest: int = 0
    faults: dict[str, str] = field(default_factory=dict[str, str])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scorecam-fuzz-") as folder:
        fuzzer = Fuzzer(options.kind, KINDS[options.kind], Path(folder), options.corpus)
        hypothesis.configuration.set_hypothesis_home_dir(Path(folder) / "hypothesis")
        watch(Path(folder))
        fuzzer.run(options.seconds, options.seed)
        print(json.dumps(asdict(fuzzer.tally)), flush=True)


class Fuzzer:
    """Generates and reads the inputs of one kind."""

    def __init__(self, name: str, kind: Kind, folder: Path, corpus: Path) -> None:
        self.kind = kind
        self.file = folder / f"input{kind.suffix}"
        self.corpus = corpus / name
        self.tally = Tally(name)
        self.valid = kind.valid()
        for content in self.valid:
            self.file.write_bytes(content)
            kind.accepts(self.file)

    def run(self, seconds: float, seed: int) -> None:
        """Run rounds until the time is up; a round ends at its first failing input."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.round(seed)
            seed += 1

    def round(self, seed: int) -> None:
        last = b""

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=INPUTS_PER_ROUND,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
            suppress_health_check=list(hypothesis.HealthCheck),
            verbosity=hypothesis.Verbosity.quiet,
        )
        @hypothesis.given(self.kind.damage(self.valid))
        def every_input_is_read_or_refused(content: bytes) -> None:
            nonlocal last
            last = content
            self.read(content)

        try:
            every_input_is_read_or_refused()
        except Exception:  # noqa: BLE001  (any exception is a failure)
            self.save(last, traceback.format_exc())

    def save(self, content: bytes, report: str) -> None:
        """Put a failing input into the corpus, unless its traceback was seen before."""
        shortened = report[-1500:]
        if shortened in self.tally.faults.values():
            return
        self.corpus.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(content).hexdigest()[:12] + self.kind.suffix
        (self.corpus / name).write_bytes(content)
        self.tally.faults[name] = shortened

    def read(self, content: bytes) -> None:
        """Read one input and check the limits.

        Raises:
            Fault: a limit is exceeded. Exceptions other than ScorecamError pass through.
        """
        self.file.write_bytes(content)
        before, start = reset_peak(), time.monotonic()
        with limited_time():
            try:
                self.kind.read(self.file)
                self.tally.accepted += 1
            except scorecam.ScorecamError as error:
                self.tally.refused += 1
                check_message(str(error))
        seconds, growth = time.monotonic() - start, peak() - before
        self.tally.slowest = max(self.tally.slowest, seconds)
        self.tally.largest = max(self.tally.largest, growth)
        if seconds > MAX_SECONDS:
            raise Fault(f"it took {seconds:.0f} s")
        if growth > MAX_MEMORY:
            raise Fault(f"it took {growth / 2**20:.0f} MiB")
        if SIDE_EFFECTS:
            raise Fault(f"side effect: {SIDE_EFFECTS.pop()}")


def check_message(text: str) -> None:
    """Check the length of an error's text."""
    if len(text) > MAX_CHARACTERS:
        raise Fault(f"its error has {len(text)} characters")


@contextlib.contextmanager
def limited_time() -> Iterator[None]:
    """Interrupt a slow read; if that has no effect, exit the process with its traceback."""

    def interrupt(*_: Any) -> None:
        raise Fault(f"it takes more than {MAX_SECONDS} s")

    faulthandler.dump_traceback_later(3 * MAX_SECONDS, exit=True)
    signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(MAX_SECONDS + 1)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()


def reset_peak() -> int:
    """Reset the peak resident memory; return the current one, in bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """The peak resident memory since the last reset, in bytes."""
    status = Path("/proc/self/status").read_text("ascii")
    match = re.search(r"VmHWM:\s+(\d+)", status)
    return int(match[1]) * 1024 if match else 0


SIDE_EFFECTS: list[str] = []


def watch(folder: Path) -> None:
    """From now on, log programs, connections, and files opened for writing elsewhere."""
    home = os.path.realpath(folder)

    def hook(event: str, values: tuple[Any, ...]) -> None:
        if event in FORBIDDEN or event == "subprocess.Popen":
            SIDE_EFFECTS.append(f"{event} {values!r}"[:200])
        elif event == "open" and not isinstance(values[0], int):
            path, mode, flags = values
            writing = isinstance(mode, str) and set(mode) & set("wax+")
            if not (writing or (flags or 0) & WRITING):
                return
            real = os.path.realpath(os.fsdecode(path))
            if not real.startswith((home, "/proc/", "/dev/null", *ALLOWED)):
                SIDE_EFFECTS.append(f"open {real}")

    sys.addaudithook(hook)


ALLOWED = tuple(filter(None, [os.environ.get("SCORECAM_CACHE"), os.environ.get("FUZZ_CORPUS")]))

if __name__ == "__main__":
    main()
