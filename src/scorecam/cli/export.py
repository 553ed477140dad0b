"""The command that saves a network that computes a heatmap itself."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from scorecam.backends.file_words import NETWORK, NETWORK_HELP
from scorecam.cli.exits import DONE, SOME_FAILED
from scorecam.cli.groups import SettingOptions, SettingValues
from scorecam.cli.opening import check_dataset_path, open_model
from scorecam.cli.options import (
    ForceOption,
    HeadOption,
    JsonOption,
    LayerOption,
    LimitOption,
    ModelOptions,
    OutputOption,
    PreprocessOption,
)
from scorecam.cli.output import print_document, print_lines, print_message
from scorecam.errors import SettingError

if TYPE_CHECKING:
    from scorecam.runs.map_branch.export import MapExport


@dataclass(frozen=True)
class NetworkOptions:
    """How the network is opened."""

    preprocess: PreprocessOption = None
    head: HeadOption = "auto"
    output: OutputOption = None


@dataclass(frozen=True)
class MapOptions:
    """The heatmap that is added."""

    with_map: Annotated[
        bool, typer.Option("--with-map", help="Add an output with a heatmap of the prediction.")
    ] = False
    layer: LayerOption = None
    limit: LimitOption = None


def export(
    *,
    network: Annotated[str, typer.Argument(metavar=NETWORK, help=NETWORK_HELP)],
    samples: Annotated[
        str | None,
        typer.Argument(
            metavar="PHOTOS",
            help="A folder or a list of photos, to fit and to measure the heatmap.",
        ),
    ] = None,
    out: Annotated[str, typer.Option("--out", help="The new file.")],
    source: NetworkOptions,
    added: MapOptions,
    settings: Annotated[
        SettingValues, SettingOptions(only=("budget",), defaults={"budget": "fast"})
    ],
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> int:
    """Save a network that computes a heatmap itself, in the same pass. It is not Score-CAM's.

    The new output "map" is on the layer's grid, in [0, 1]. With photos, its correlation with
    Score-CAM's maps is measured, printed and saved in the file's metadata.
    """
    import scorecam

    if not added.with_map:
        raise SettingError(
            "Nothing to add to the network was chosen.", do="Use --with-map to add a heatmap."
        )
    model = open_model(ModelOptions(network, **dataclasses.asdict(source)))
    dataset = None if samples is None else check_dataset_path(samples)
    with redirect_stdout(sys.stderr):
        saved = scorecam.export_with_map(
            model, dataset, out=out, layer=added.layer, limit=added.limit, force=force, **settings
        )
    for name, failure in saved.failures.items():
        print_message(f"scorecam: {name}: {failure}")
    _print(saved, as_json=as_json)
    return SOME_FAILED if saved.failures else DONE


def _print(saved: MapExport, *, as_json: bool) -> None:
    """Print what the new output is, and how far it is off."""
    from scorecam.cli.records import json_document, path_text

    if as_json:
        item = dataclasses.asdict(saved) | {"path": path_text(saved.path)}
        print_document(json_document([item], sys.stdout.encoding))
        return
    grid = "×".join(map(str, saved.grid))
    print_lines(f"{path_text(saved.path)}: new output map, {grid}, from the layer {saved.layer}.")
    print_lines(f"Method: {saved.method}. {saved.formula}.")
    if saved.fidelity is None:
        print_lines("Not measured: give photos to compare it with Score-CAM's maps.")
    else:
        print_lines(saved.fidelity.sentence)
