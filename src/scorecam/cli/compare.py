"""The command that compares models, checkpoints, precisions or runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from scorecam.cli.exits import DONE, GATE_FAILED
from scorecam.cli.groups import SettingOptions, SettingValues
from scorecam.cli.opening import check_dataset_path, open_model
from scorecam.cli.options import (
    DeviceOption,
    DownloadOption,
    HeadOption,
    JsonOption,
    LabelsOption,
    LimitOption,
    ModelOptions,
    PreprocessOption,
    RunOption,
)
from scorecam.cli.output import print_document, print_lines, print_message, print_text
from scorecam.cli.resuming import resumable
from scorecam.cli.task_options import TaskOptions
from scorecam.errors import DatasetError, SettingError

if TYPE_CHECKING:
    from scorecam.datasets.sample import Dataset
    from scorecam.model.model import Model

FILES = "compare.html, compare.json, compare.md, focus.png"


def compare(
    *,
    sides: Annotated[
        list[str],
        typer.Argument(
            metavar="A B... [DATASET]",
            help="Models, such as lite0,precision=bfloat16, model files, or run folders; then the "
            "photos.",
        ),
    ],
    out: RunOption,
    preprocess: PreprocessOption = None,
    labels: LabelsOption = None,
    head: HeadOption = "auto",
    device: DeviceOption = None,
    download: DownloadOption = False,
    tasks: TaskOptions,
    method: Annotated[str, typer.Option("--method", help="Method to compare.")] = "scorecam",
    settings: Annotated[SettingValues, SettingOptions(only=("budget",))],
    limit: LimitOption = None,
    fail_under: Annotated[
        str | None,
        typer.Option(
            "--fail-under",
            help="Exit with 3 if a side after the first is below these values, such as "
            "similarity=0.95,worst=0.8,agreement=0.99,focus=0.4,accuracy=0.7.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Compare models, checkpoints, precisions or runs on the same photos; can gate a release."""
    import scorecam

    gates = parse_gates(fail_under)
    sides, photos = _split_photos(sides, limit)
    defaults = ModelOptions(
        preprocess=preprocess,
        labels=labels,
        head=head,
        device=device,
        download=download,
        tasks=tasks,
    )
    with resumable("compare", out) as progress:
        result = scorecam.compare(
            sides,
            photos,
            out=out,
            method=method,
            fail_under=gates,
            opener=_opener(defaults),
            progress=progress,
            **settings,
        )
    if as_json:
        print_document((result.folder / "compare.json").read_text("utf-8"))
    else:
        print_text(result.table)
        print_lines(f"Results are in {result.folder}: {FILES}.")
    for sentence in result.failed:
        print_message(f"scorecam: {sentence}. Gate failed.")
    return GATE_FAILED if result.failed else DONE


def _split_photos(names: list[str], limit: int | None) -> tuple[list[str], Dataset | None]:
    """The sides, and the photos: the last name, unless all names are runs.

    Raises:
        DatasetError: the last name is not a data set.
    """
    from scorecam.datasets.opening import open_dataset
    from scorecam.datasets.selection import select
    from scorecam.runs.compare.sides import parse_side

    if all(parse_side(name).is_run for name in names):
        return names, None
    *sides, last = names
    try:
        return sides, select(open_dataset(check_dataset_path(last)), limit=limit)
    except DatasetError as error:
        likely = f"The last argument names the photos, here {last}. {error.likely}".strip()
        raise DatasetError(error.what, likely=likely, do=error.do) from error


def _opener(defaults: ModelOptions) -> Callable[..., Model]:
    """A function that opens the model of a side.

    Each side is opened twice; its remarks are printed only the first time.
    """
    import dataclasses

    opened: set[str] = set()

    def open_side(spec: str, **settings: str) -> Model:
        side = f"{spec} {settings}"
        quiet = side in opened
        opened.add(side)
        options = dataclasses.replace(defaults, model=spec, **settings)
        return open_model(options, quiet=quiet)

    return open_side


def parse_gates(text: str | None) -> dict[str, float]:
    """`similarity=0.95,focus=0.4` as numbers by name.

    Raises:
        SettingError: the text has another form, or a gate is given twice.
    """
    from scorecam.io.ranges import parse_real

    gates: dict[str, float] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        number = parse_real(value)
        if not equals or number is None:
            raise SettingError(
                f"--fail-under {part:.80} does not have the form NAME=NUMBER.",
                do="Use, for example, similarity=0.95,focus=0.4.",
            )
        if name.strip() in gates:
            raise SettingError(
                f"--fail-under names {name.strip():.80} twice.", do="Give each gate once."
            )
        gates[name.strip()] = number
    if text is not None and not gates:
        raise SettingError(
            "--fail-under is empty.",
            likely="It may come from an empty variable.",
            do="Use, for example, similarity=0.95,focus=0.4, or leave it out.",
        )
    return gates
