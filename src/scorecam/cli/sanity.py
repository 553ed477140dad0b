"""The command that runs the model-randomisation sanity check."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scorecam.cli.exits import DONE, SOME_FAILED
from scorecam.cli.groups import SettingOptions, SettingValues
from scorecam.cli.known import RANDOMISATIONS
from scorecam.cli.opening import check_dataset_path, open_model
from scorecam.cli.options import JsonOption, LayerOption, LimitOption, ModelOptions, RunOption
from scorecam.cli.output import print_document, print_lines, print_message, print_text
from scorecam.cli.resuming import resumable

if TYPE_CHECKING:
    from scorecam.datasets.sample import Dataset


def sanity(
    *,
    photos: Annotated[
        list[str], typer.Argument(metavar="DATASET|IMAGE...", help="A data set, or photos.")
    ],
    out: RunOption,
    source: ModelOptions,
    methods: Annotated[
        str,
        typer.Option("--methods", help="Methods to check; edges is a control that must fail."),
    ] = "scorecam,gradcam,edges",
    modes: Annotated[
        str,
        typer.Option(
            "--modes", help=f"{' or '.join(RANDOMISATIONS)}, or both, separated by a comma."
        ),
    ] = ",".join(RANDOMISATIONS),
    seeds: Annotated[
        int, typer.Option("--seeds", help="Number of re-initialised networks per stage.")
    ] = 1,
    shuffled: Annotated[
        str | None,
        typer.Option("--shuffled", help="Weights of the same network trained on shuffled labels."),
    ] = None,
    limit: LimitOption = None,
    layer: LayerOption = None,
    settings: Annotated[
        SettingValues, SettingOptions(only=("budget", "runtime"), defaults={"budget": "fast"})
    ],
    as_json: JsonOption = False,
) -> int:
    """Check that maps change when weights are re-initialised (model randomisation)."""
    import scorecam
    from scorecam.datasets.selection import select
    from scorecam.methods.names import parse_methods

    parsed = parse_methods(methods)
    chosen = select(_open_photos(photos), limit=limit)
    model = open_model(source)
    other = None
    if shuffled is not None:
        other = open_model(dataclasses.replace(source, weights=shuffled), quiet=True)
    with resumable(model.spec, out) as progress:
        result = scorecam.sanity(
            model,
            chosen,
            methods=parsed,
            modes=[mode.strip() for mode in modes.split(",")],  # type: ignore[arg-type]
            out=out,
            seeds=seeds,
            shuffled=other,
            layer=layer,
            progress=progress,
            **settings,
        )
    for remark in result.remarks:
        print_message(remark)
    for name, message in result.failures.items():
        print_message(f"scorecam: {name}: {message}")
    if as_json:
        print_document((result.folder / "sanity.json").read_text("utf-8"))
    else:
        print_text(result.table)
        print_lines(f"Results are in {result.folder}: sanity.json, table.md and pictures.")
    return SOME_FAILED if result.failures else DONE


def _open_photos(names: list[str]) -> Dataset:
    """The data set of a single name, or one that consists of the named photos."""
    from scorecam.datasets.opening import open_dataset
    from scorecam.datasets.photos import is_photo_or_array
    from scorecam.datasets.sample import Dataset, Sample

    if len(names) == 1 and not is_photo_or_array(names[0]):
        return open_dataset(check_dataset_path(names[0]))
    samples = {name: Sample(name, Path(name)) for name in names}
    return Dataset(Path(), "photos", tuple(samples[name] for name in sorted(samples)), ())
