"""A process may fork while it computes explanations; the children can explain, and exit."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")

CHILDREN = 8

PROGRAM = """
    import os, sys, threading, time, torch
    from torch import nn
    import scorecam, scorecam.backends.runtimes.openvino
    scorecam.backends.runtimes.openvino.CONVERTING = ({seconds}, 0.0)
    torch.set_num_threads(1)  # libgomp, which torch computes with, cannot be used after a fork

    net = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.Dropout(0.5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 5),
    )
    x = torch.randn(1, 3, 48, 48)
    def explain():
        explanation = scorecam.explain(net, x, target=1, {settings})
        return explanation.heatmap, explanation.health, explanation.error
    truth = explain()[0]
    stop = threading.Event()
    def forever():
        while not stop.is_set():
            explain()
    threads = [threading.Thread(target=forever) for _ in range(3)]
    for thread in threads: thread.start()
    children = []
    for _ in range({children}):
        time.sleep(0.03)
        pid = os.fork()
        if pid == 0:
            try:
                close = torch.allclose(explain()[0], truth, rtol=0, atol={tolerance} * truth.max())
                os._exit(0 if close else 3)
            finally:
                os._exit(4)
        children.append(pid)
    ended, deadline = {{}}, time.time() + 40
    while len(ended) < len(children) and time.time() < deadline:
        for pid in children:
            if pid not in ended and (found := os.waitpid(pid, os.WNOHANG))[0]:
                ended[pid] = os.waitstatus_to_exitcode(found[1])
        time.sleep(0.02)
    for pid in children:
        if pid not in ended: os.kill(pid, 9)
    stop.set()
    for thread in threads: thread.join()
    print(sorted(ended.values()))
"""


SETTINGS = {
    "eager": ("runtime='eager'", "float('inf')", 0.0),
    "few masks": ("runtime='eager', budget='fast'", "float('inf')", 0.0),
    "converted": ("", "-1.0", 1e-4),  # converts at the first opportunity
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_forked_child_computes_the_right_map(kind: str) -> None:
    settings, seconds, tolerance = SETTINGS[kind]
    program = textwrap.dedent(PROGRAM).format(
        settings=settings, children=CHILDREN, seconds=seconds, tolerance=tolerance
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == str([0] * CHILDREN), done.stderr


LOCKS = """
    import gc, os, threading
    import scorecam.backends.opening, scorecam.base.process_state
    from scorecam.base.fork_lock import ForkLock
    locks = [lock for lock in gc.get_objects() if isinstance(lock, ForkLock)]
    held, release = threading.Event(), threading.Event()
    def hold():
        for lock in locks: lock.__enter__()
        held.set()
        release.wait()
    mine = ForkLock()
    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    held.wait()
    with mine:
        pid = os.fork()
        if pid == 0:
            for lock in locks:
                with lock: pass
            stuck = threading.Thread(target=mine.__enter__, daemon=True)  # the child still holds it
            stuck.start()
            stuck.join(0.2)
            os._exit(0 if stuck.is_alive() and locks else 3)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    release.set()
"""


def test_a_child_keeps_its_own_locks_and_no_others() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(LOCKS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "0", done.stderr


def test_every_lock_in_the_package_survives_a_fork() -> None:
    import re
    from pathlib import Path

    import scorecam

    made = re.compile(r"(=|return) *threading\.\w*(Lock|Condition|Semaphore|Event|Barrier)\(")
    cached = re.compile(r"@functools\.cached_property\b|from functools import .*cached_property")
    unsafe = [
        f"{path.name}: {line.strip()}"
        for path in Path(scorecam.__file__).parent.rglob("*.py")
        if path.name != "fork_lock.py"
        for line in path.read_text("utf-8").splitlines()
        if made.search(line) or cached.search(line)
    ]
    assert unsafe == []
