"""Fuzz one kind of file in a process with limits; prints what was found as one line of JSON.

    python tests/fuzz/child.py KIND --seconds S --seed N --corpus FOLDER

An input is at fault if reading it raises anything but a `ScorecamError`, takes more than `SLOW`
seconds, raises the process's memory by more than `MEMORY`, starts a program or a connection, or
writes outside the working folder; and if the error's text is longer than `LENGTH`. Faults are
shrunk by Hypothesis and kept in the corpus.
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

SLOW = 10
MEMORY = 1 << 30
LENGTH = 600
ROUND = 100

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FORBIDDEN = ("socket.connect", "os.fork", "os.posix_spawn", "os.exec", "os.system")


class Fault(Exception):
    """What an input must not do."""


@dataclass
class Tally:
    """What happened to the inputs of one kind."""

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
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scorecam-fuzz-") as folder:
        fuzzer = Fuzzer(chosen.kind, KINDS[chosen.kind], Path(folder), chosen.corpus)
        hypothesis.configuration.set_hypothesis_home_dir(Path(folder) / "hypothesis")
        watch(Path(folder))
        fuzzer.run(chosen.seconds, chosen.seed)
        print(json.dumps(asdict(fuzzer.tally)), flush=True)


class Fuzzer:
    """One kind's inputs, one after the other."""

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
        """Rounds of inputs until the time is up; each round ends at its first fault."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.round(seed)
            seed += 1

    def round(self, seed: int) -> None:
        last = b""

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=ROUND,
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
        except Exception:  # noqa: BLE001  (that is what is looked for)
            self.keep(last, traceback.format_exc())

    def keep(self, content: bytes, report: str) -> None:
        """Put an input at fault into the corpus, once for each last line of its traceback."""
        shortened = report[-1500:]
        if shortened in self.tally.faults.values():
            return
        self.corpus.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(content).hexdigest()[:12] + self.kind.suffix
        (self.corpus / name).write_bytes(content)
        self.tally.faults[name] = shortened

    def read(self, content: bytes) -> None:
        """Read one input, within the limits.

        Raises:
            Fault: it goes beyond one. Anything but a ScorecamError is raised as it is.
        """
        self.file.write_bytes(content)
        before, start = reset_peak(), time.monotonic()
        with limited_time():
            try:
                self.kind.read(self.file)
                self.tally.accepted += 1
            except scorecam.ScorecamError as error:
                self.tally.refused += 1
                check_words(str(error))
        took, grown = time.monotonic() - start, peak() - before
        self.tally.slowest = max(self.tally.slowest, took)
        self.tally.largest = max(self.tally.largest, grown)
        if took > SLOW:
            raise Fault(f"it took {took:.0f} s")
        if grown > MEMORY:
            raise Fault(f"it took {grown / 2**20:.0f} MiB")
        if DEEDS:
            raise Fault(f"it did {DEEDS.pop()}")


def check_words(text: str) -> None:
    """An error's text is one short paragraph that a terminal can show."""
    if len(text) > LENGTH:
        raise Fault(f"its error has {len(text)} characters")


@contextlib.contextmanager
def limited_time() -> Iterator[None]:
    """Interrupt what takes too long; what does not listen is ended with its traceback."""

    def interrupt(*_: Any) -> None:
        raise Fault(f"it takes more than {SLOW} s")

    faulthandler.dump_traceback_later(3 * SLOW, exit=True)
    signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(SLOW + 1)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()


def reset_peak() -> int:
    """Forget the largest memory so far; the memory now, in bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """The largest resident memory since it was reset, in bytes."""
    status = Path("/proc/self/status").read_text("ascii")
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) * 1024 if found else 0


DEEDS: list[str] = []


def watch(folder: Path) -> None:
    """Note programs, connections, and files opened for writing elsewhere, from now on."""
    home = os.path.realpath(folder)

    def hook(event: str, values: tuple[Any, ...]) -> None:
        if event in FORBIDDEN or event == "subprocess.Popen":
            DEEDS.append(f"{event} {values!r}"[:200])
        elif event == "open" and not isinstance(values[0], int):
            path, mode, flags = values
            writing = isinstance(mode, str) and set(mode) & set("wax+")
            if not (writing or (flags or 0) & WRITING):
                return
            real = os.path.realpath(os.fsdecode(path))
            if not real.startswith((home, "/proc/", "/dev/null", *QUIET)):
                DEEDS.append(f"open {real}")

    sys.addaudithook(hook)


QUIET = tuple(filter(None, [os.environ.get("SCORECAM_CACHE"), os.environ.get("FUZZ_CORPUS")]))

if __name__ == "__main__":
    main()
