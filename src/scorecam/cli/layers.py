"""The command that lists a model's layers."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from scorecam.cli.exits import DONE
from scorecam.cli.opening import open_model
from scorecam.cli.options import (
    JsonOption,
    MaskedInputOption,
    ModelOption,
    ModelOptions,
    OutputOption,
    PreprocessOption,
)
from scorecam.cli.output import print_document, print_lines, print_message
from scorecam.cli.task_options import TaskOptions


def layers(
    *,
    model: ModelOption = None,
    preprocess: PreprocessOption = None,
    output: OutputOption = None,
    masked_input: MaskedInputOption = None,
    tasks: TaskOptions,
    image: Annotated[
        str | None,
        typer.Option("--image", help="A photo, for layers that depend on what a task finds in it."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """List the layers that can be explained; an arrow marks the default.

    Each line has the layer's name (with the number of the call, for a module that runs several
    times), its maps, their layout, and why it is, or is not, the default.
    """
    import dataclasses

    import scorecam

    # Trained weights do not matter here, so none are required.
    random = model is not None and model.startswith(("torchvision:", "timm:"))
    options = ModelOptions(
        model,
        "random" if random else None,
        preprocess,
        output=output,
        masked_input=masked_input,
        tasks=tasks,
    )
    opened = open_model(options, quiet=True)
    listed = scorecam.layers(opened, None if image is None else opened.read(image).image)
    if as_json:
        items = [dataclasses.asdict(layer) for layer in listed]
        print_document(json.dumps({"schema": 1, "items": items}, indent=2))
        return DONE
    if not listed:
        print_message("No layer of this network has a grid.")
    width = max((len(layer.name) for layer in listed), default=0)
    layouts = max((len(layer.layout) for layer in listed), default=0)
    for layer in listed:
        grid = "×".join(map(str, layer.grid))
        mark = "→" if layer.default else " "
        maps = f"{layer.channels:>5} × {grid:<9}  {layer.layout:<{layouts}}"
        print_lines(f"{mark} {layer.name:<{width}}  {maps}  {layer.why}")
    return DONE
