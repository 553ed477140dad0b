"""Opening the model and the data set that a command line names."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from scorecam.cli.options import DEFAULT_MODEL, ModelOptions
from scorecam.cli.output import print_message
from scorecam.errors import DatasetError

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

    spec = options.model
    if spec is None:
        spec = DEFAULT_MODEL
        print_message(f"Using the bundled model {DEFAULT_MODEL} (EfficientNet-Lite0, ImageNet).")
    with redirect_stdout(sys.stderr):
        model = scorecam.open_model(
            spec,
            weights=options.weights,
            preprocess=options.preprocess,
            labels=options.labels,
            head=check_head(options.head),
            device=options.device,
            download=options.download,
        )
    for remark in () if quiet else model.remarks:
        print_message(remark)
    return model


def check_dataset_path(text: str) -> str:
    """The name of a data set, checked to be a possible path.

    Raises:
        DatasetError: the name is too long for a path, or has characters that no path can have.
    """
    from scorecam.io.arguments import path

    return str(path("path", text, DatasetError))
