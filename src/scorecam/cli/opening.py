"""Opening the model and the data set that a command line names."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from scorecam.base.wording import quoted
from scorecam.cli.options import DEFAULT_MODEL, ModelOptions
from scorecam.cli.output import print_message
from scorecam.cli.task_options import find_task
from scorecam.errors import DatasetError, SettingError

if TYPE_CHECKING:  # imported when a command runs: --help must not wait for torch
    from scorecam.model.model import Model


def open_model(options: ModelOptions, *, quiet: bool = False) -> Model:
    """Open the model; remarks on how it was opened go to stderr.

    Args:
        options: which model, and how.
        quiet: print no remarks.
    """
    import scorecam
    from scorecam.model.columns import check_head

    task = find_task(options.tasks)
    spec = options.model
    if spec is None:
        spec = DEFAULT_MODEL
        print_message(f"Using the bundled model {DEFAULT_MODEL} (EfficientNet-Lite0, ImageNet).")
    with redirect_stdout(sys.stderr):
        model = scorecam.open_model(
            spec,
            weights=options.weights,
            preprocess=options.preprocess,
            bands=_whole_numbers(
                "--bands", options.bands, "bands, counted from 1, such as --bands 4,3,2"
            ),
            window=_window(options.window),
            labels=options.labels,
            head=check_head(options.head),
            output=_key(options.output),
            masked_input=_key(options.masked_input),
            device=options.device,
            download=options.download,
        )
    for remark in () if quiet else model.remarks:
        print_message(remark)
    sizes = _whole_numbers("--windows", options.windows, "a size, such as --windows 224")
    if sizes is not None:
        model = scorecam.sliding_window(model, sizes[0] if len(sizes) == 1 else sizes)
    return model if task is None else model.with_task(task)


def _key(text: str | None) -> int | str | None:
    """An index or a name, as users write it."""
    from scorecam.io.ranges import parse_whole

    whole = None if text is None else parse_whole(text)
    return text if whole is None else whole


def _whole_numbers(option: str, text: str | None, example: str) -> tuple[int, ...] | None:
    """Whole numbers separated by commas, as users write them."""
    from scorecam.io.ranges import parse_wholes

    if text is None:
        return None
    numbers = parse_wholes(text)
    if numbers is None:
        raise SettingError(
            f"{option} {quoted(text)} is not a list of whole numbers.", do=f"Give {example}."
        )
    return numbers


def _window(text: str | None) -> tuple[float, float] | None:
    """Two values, as users write them."""
    from scorecam.io.ranges import parse_reals

    if text is None:
        return None
    ends = parse_reals(text)
    if ends is None or len(ends) != 2:
        raise SettingError(
            f"--window {quoted(text)} is not two numbers.",
            do="Give the values that become black and white, such as --window 0,4095.",
        )
    return ends


def check_dataset_path(text: str) -> str:
    """The name of a data set, checked to be a possible path.

    Raises:
        DatasetError: the name is too long for a path, or has characters that no path can have.
    """
    from scorecam.io.arguments import path

    return str(path("path", text, DatasetError))
