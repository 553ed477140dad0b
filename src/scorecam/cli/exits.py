"""Exit codes, and how every command ends."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

from scorecam.cli.interrupts import interruptible
from scorecam.cli.output import print_message
from scorecam.errors import ScorecamError
from scorecam.io.files import LASTING

P = ParamSpec("P")

DONE, SOME_FAILED, BAD_INPUT, GATE_FAILED, BUG, INTERRUPTED = 0, 1, 2, 3, 70, 130


def code_for(failed: int, total: int) -> int:
    """The exit code of a command after `failed` of `total` items failed."""
    if not failed:
        return DONE
    return SOME_FAILED if failed < total else BAD_INPUT


def with_exit_codes(command: Callable[P, int]) -> Callable[P, None]:
    """End a command with its exit code, and turn every exception into one paragraph."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with interruptible():
                code = command(*args, **kwargs)
        except typer.Exit:  # the command has already printed why
            raise
        except ScorecamError as error:
            print_message(f"scorecam: {error}")
            code = BAD_INPUT
        except KeyboardInterrupt:
            print_message("scorecam: interrupted.")
            code = INTERRUPTED
        except BrokenPipeError:  # the reader of stdout, such as `head`, has exited
            _discard_output()
            code = SOME_FAILED
        except Exception as error:  # noqa: BLE001  (the last resort)
            code = _code_of_unexpected(error)
        raise typer.Exit(code)

    return run


def _code_of_unexpected(error: Exception) -> int:
    """Report an exception that no command handles; returns the exit code."""
    if isinstance(error, MemoryError):
        print_message(
            "scorecam: Memory ran out. Give fewer or smaller photos, or a smaller --batch-size."
        )
        return SOME_FAILED
    if isinstance(error, OSError) and error.errno in LASTING:
        _discard_output()
        print_message(
            f"scorecam: The results could not be printed: {error.strerror}. Standard output may "
            "be redirected to a full disk. Free some space, or redirect it elsewhere."
        )
        return SOME_FAILED
    print_message(
        "scorecam: something went wrong, and it is our fault. The details are in "
        f"{_write_log()}; please report the problem and attach that file."
    )
    return BUG


def _discard_output() -> None:
    """Send stdout to the null device, so that Python's flush at exit does not fail too."""
    with contextlib.suppress(OSError, ValueError):  # stdout may not be a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_log() -> str:
    """Write the traceback to a file; returns its path, or part of the traceback if that fails."""
    report = f"{sys.argv}\n{traceback.format_exc()}"
    try:
        handle, path = tempfile.mkstemp(prefix="scorecam-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as log:
            log.write(report)
    except OSError:
        return "no file, since none could be written: " + report[-300:]
    return path
