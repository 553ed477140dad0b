"""What the commands share: their options, opening a model, and how they end."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from scorecam.cli.interrupts import interruptible
from scorecam.cli.output import say
from scorecam.errors import ScorecamError
from scorecam.io.files import LASTING

if TYPE_CHECKING:  # imported when a command runs: --help must not wait for torch
    from scorecam.model.model import Model

P = ParamSpec("P")

SOME_FAILED, BAD_INPUT, GATE_FAILED, BUG, INTERRUPTED = 1, 2, 3, 70, 130
DEFAULT_MODEL = "lite0"

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="lite0, lite1, lite2, torchvision:NAME, or package.module:factory. [default: lite0]",
        show_default=False,
    ),
]
WeightsOption = Annotated[
    str | None, typer.Option("--weights", help="A safetensors file or a checkpoint.")
]
PreprocessOption = Annotated[
    str | None, typer.Option("--preprocess", help="imagenet, or a JSON file.")
]
LabelsOption = Annotated[
    str | None, typer.Option("--labels", help="A file with one class name per line, or imagenet.")
]
HeadOption = Annotated[
    str, typer.Option("--head", help="auto, logits, probabilities, sigmoid or value.")
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="Such as cpu or cuda:0.")]
VariantOption = Annotated[
    str, typer.Option("--variant", help="official, algorithm1, increase, literal or consensus.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def answering(command: Callable[P, int]) -> Callable[P, None]:
    """End a command with its exit code, and every error with one paragraph."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with interruptible():
                code = command(*args, **kwargs)
        except typer.Exit:  # the command has said why
            raise
        except ScorecamError as error:
            say(f"scorecam: {error}")
            code = BAD_INPUT
        except KeyboardInterrupt:
            say("scorecam: interrupted.")
            code = INTERRUPTED
        except BrokenPipeError:  # the reader has left, as `head` does
            _print_no_more()
            code = SOME_FAILED
        except Exception as error:  # noqa: BLE001  (the last line of defence)
            code = _unforeseen(error)
        raise typer.Exit(code)

    return run


def _unforeseen(error: Exception) -> int:
    """Say what no command has dealt with; the exit code."""
    if isinstance(error, MemoryError):
        say("scorecam: Memory ran out. Give fewer or smaller photos, or a smaller --batch-size.")
        return SOME_FAILED
    if isinstance(error, OSError) and error.errno in LASTING:
        _print_no_more()
        say(
            f"scorecam: The answer could not be printed: {error.strerror}. Standard output may "
            "lead to a full disk. Free some space, or print to another place."
        )
        return SOME_FAILED
    say(
        "scorecam: something went wrong that should not have, and it is our fault. What happened "
        f"is written in {_log()}; please report it together with that file."
    )
    return BUG


def _print_no_more() -> None:
    """Nobody takes what is printed: Python shall not try again when it ends."""
    with contextlib.suppress(OSError, ValueError):  # a stdout that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _log() -> str:
    report = f"{sys.argv}\n{traceback.format_exc()}"
    try:
        handle, path = tempfile.mkstemp(prefix="scorecam-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as log:
            log.write(report)
    except OSError:
        return "no file, since none could be written: " + report[-300:]
    return path


def open_model(
    model: str | None,
    *,
    weights: str | None = None,
    preprocess: str | None = None,
    labels: str | None = None,
    head: str = "auto",
    device: str | None = None,
    quiet: bool = False,
) -> Model:
    """The model that the options mean; what was decided on the way is said on stderr."""
    import scorecam
    from scorecam.model.columns import check_head

    if model is None:
        model = DEFAULT_MODEL
        say(f"Using the bundled model {DEFAULT_MODEL} (EfficientNet-Lite0, ImageNet).")
    with redirect_stdout(sys.stderr):
        opened = scorecam.open_model(
            model,
            weights=weights,
            preprocess=preprocess,
            labels=labels,
            head=check_head(head),
            device=device,
        )
    for remark in () if quiet else opened.remarks:
        say(remark)
    return opened


def count(text: str) -> Any:
    """A number where it is one; the library says what is wrong with anything else."""
    from scorecam.io.ranges import whole

    number = whole(text)
    return text if number is None else number
