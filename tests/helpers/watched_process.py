"""Run code in a child process and log its connections, processes and writes as audit events.

Audit hooks cannot be removed, so the code runs in its own process:

    watched = watch(code, folder)

The code may name its parts with `step("name")`. Connections are logged and refused. `folder`
gets an empty home, a temporary folder and a working folder. Native libraries raise no audit events
when they write, so `strays` lists the files that exist outside the working folder afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = (
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendmsg",
    "socket.sendto",
    "urllib.Request",
    "http.client.connect",
)
PROCESSES = (
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pty.spawn",
    "subprocess.Popen",
)
CHANGES = ("os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate")

HOOK = f"""
import json, os, sys, traceback
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
log = os.open(os.environ["WATCHED_PROCESS_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
busy = False
def log_event(event, subject):
    frames = traceback.extract_stack()[:-2]
    caller = [f"{{f.filename}}:{{f.lineno}}" for f in frames if "importlib" not in f.filename][-6:]
    os.write(log, (json.dumps([event, subject, caller]) + "\\n").encode())
def step(name):
    log_event("step", name)
def hook(event, values):
    global busy
    if busy:
        return
    busy = True
    try:
        if event in {CONNECTIONS + PROCESSES!r}:
            log_event(event, repr(values)[:300])
            if event in {CONNECTIONS!r}:
                raise PermissionError("a test must not connect to anything")
        elif event in {CHANGES!r}:
            log_event(event, os.path.realpath(os.fsdecode(values[0])))
        elif event == "open" and not isinstance(values[0], int):
            path, mode, flags = values
            if (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & WRITING:
                log_event("open", os.path.realpath(os.fsdecode(path)))
    finally:
        busy = False
sys.addaudithook(hook)
"""


@dataclass(frozen=True)
class Event:
    """One audit event: the step, the event's name, its subject, and the calling code."""

    step: str
    name: str
    subject: str
    caller: tuple[str, ...]


@dataclass(frozen=True)
class Watched:
    """The events and the output of a process.

    Args:
        code: its exit code.
        out: its stdout and stderr.
        events: connections, processes and writes, in order.
        strays: files that it strays in the home and the temporary folder.
    """

    code: int
    out: str
    events: tuple[Event, ...]
    strays: frozenset[str]

    def connections(self) -> list[Event]:
        return [event for event in self.events if event.name in CONNECTIONS]

    def processes(self) -> list[Event]:
        return [event for event in self.events if event.name in PROCESSES]

    def writes_outside(self, *allowed: Path) -> list[Event]:
        """Files and folders that were opened for writing, made, moved or removed elsewhere."""
        places = [Path(os.path.realpath(place)) for place in (*allowed, os.devnull)]
        return [
            event
            for event in self.events
            if event.name not in CONNECTIONS + PROCESSES
            and not any(Path(event.subject).is_relative_to(place) for place in places)
        ]


def watch(code: str, folder: Path, **environment: str) -> Watched:
    """Run Python code in a child process, in `folder/work`, with an empty home."""
    home, temporary, work = (folder / name for name in ("home", "tmp", "work"))
    for place in (home, temporary, work):
        place.mkdir(parents=True, exist_ok=True)
    log = folder / "events.jsonl"
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "PYTEST", "SCORECAM_", "MPL", "TORCHINDUCTOR"))
    }
    own = {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "WATCHED_PROCESS_LOG": str(log),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", HOOK + code],
        cwd=work,
        env=kept | own | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    strays = {
        str(file.relative_to(folder))
        for place in (home, temporary)
        for file in place.rglob("*")
        if not file.is_dir()
    }
    return Watched(
        done.returncode,
        done.stdout + done.stderr,
        tuple(_events(log)),
        frozenset(strays),
    )


def _events(log: Path) -> Iterator[Event]:
    current = ""
    for line in log.read_text("utf-8").splitlines():
        name, subject, caller = json.loads(line)
        if name == "step":
            current = subject
        else:
            yield Event(current, name, subject, tuple(caller))
