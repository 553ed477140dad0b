"""SIGTERM and SIGHUP end a command as Ctrl-C does; the library sets no handler."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import scorecam
from command_line import furnish, options, shell_environment
from command_line import scorecam as command
from command_runs import contents, words
from command_runs import furnish as with_photos
from scorecam import OutputError
from scorecam.cli.interrupts import STOP_SIGNALS, interruptible

ALL = [signal.SIGINT, *STOP_SIGNALS]


def until(condition: Path, process: subprocess.Popen[str]) -> None:
    while not condition.exists() and process.poll() is None:
        time.sleep(0.02)


def started(arguments: list[str], folder: Path, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scorecam", *arguments],
        env=shell_environment(),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_a_signal_ends_explain_and_finished_photos_are_saved(
    tmp_path: Path, number: signal.Signals
) -> None:
    from PIL import Image

    furnish(tmp_path)
    Image.new("RGB", (16, 16), "white").save(tmp_path / "white.png")
    words = ["explain", "cat.png", "white.png", "dog.png", *options("waits_on_white")]
    process = started(words, tmp_path)
    until(tmp_path / "waiting", process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "scorecam: interrupted. The finished photos are saved in out." in err
    assert "Traceback" not in err
    assert {path.name.split(".")[0] for path in (tmp_path / "out").iterdir()} == {"cat"}


@pytest.mark.needs("eval")
@pytest.mark.parametrize("number", ALL, ids=lambda number: number.name)
def test_a_run_ended_by_a_signal_resumes_to_the_same_results(
    tmp_path: Path, number: signal.Signals
) -> None:
    with_photos(tmp_path, 60)
    out = tmp_path / "run"
    more = ("--methods", "scorecam,centre", "--metrics", "deletion", "--no-gallery")
    process = started(words(tmp_path, out, *more), tmp_path)
    until(out / "items" / "scorecam", process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "run the same command to resume" in err
    assert "Traceback" not in err
    assert not (out / "results.parquet").exists(), "it was over before the signal came"
    assert [path for path in out.rglob(".*") if path.is_file()] == []
    assert scorecam.verify(out).sound
    for place in (out, tmp_path / "whole"):
        assert command(*words(tmp_path, place, *more)).code == 0
    assert contents(out) == contents(tmp_path / "whole")


# ── one block, in a process of its own: OpenVINO in this one can make a signal fatal ─────────


def check(program: str) -> None:
    """Run a program that ends with an error unless its assertions hold."""
    start = """
import contextlib
import signal
from scorecam.cli.interrupts import interruptible
"""
    done = subprocess.run(
        [sys.executable, "-c", start + program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_signal_handlers_are_restored(number: signal.Signals) -> None:
    check(f"""
interrupted = False
try:
    with interruptible():
        signal.raise_signal({int(number)})
except KeyboardInterrupt:
    interrupted = True
assert interrupted
assert signal.getsignal({int(number)}) is signal.SIG_DFL
""")


@pytest.mark.parametrize("handler", ["signal.SIG_IGN", "lambda *_: None"], ids=["nohup", "own"])
def test_an_existing_signal_handler_is_kept(handler: str) -> None:
    check(f"""
handler = {handler}
signal.signal(signal.SIGHUP, handler)
with interruptible():
    assert signal.getsignal(signal.SIGHUP) is handler
    signal.raise_signal(signal.SIGHUP)
assert signal.getsignal(signal.SIGHUP) is handler
""")


def test_a_second_signal_is_ignored() -> None:
    check("""
finished = False
with contextlib.suppress(KeyboardInterrupt), interruptible():
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        finished = True
assert finished
""")


def test_commands_can_run_in_other_threads() -> None:
    ended: list[bool] = []

    def run() -> None:
        with interruptible():
            ended.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ended == [True]


def test_the_library_sets_no_signal_handler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the library set a handler")

    monkeypatch.setattr(signal, "signal", refuse)
    with pytest.raises(OutputError):
        scorecam.io.files.write_text(tmp_path, "text")
    furnish(tmp_path)
    import toy_models

    model = scorecam.open_model(toy_models.tiny(), preprocess=str(tmp_path / "preprocess.json"))
    explained = scorecam.explain(model, str(tmp_path / "cat.png"), runtime="eager")
    explained.bank.save(tmp_path / "bank.safetensors")
