"""The table of `scorecam doctor --measure`: how fast each runtime is, and whether it agrees."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from scorecam.cli.exits import DONE
from scorecam.cli.opening import open_model
from scorecam.cli.options import ModelOptions
from scorecam.cli.output import print_document, print_lines, print_message

if TYPE_CHECKING:  # imported when a command runs: --help must not wait for torch
    from collections.abc import Sequence

    from scorecam.model.engine import MeasuredEngine
    from scorecam.model.model import Model
    from scorecam.shapes import Image

COLUMNS = ("runtime", "precision", "ms/image", "map moves", "agrees", "convert", "after", "why")


def measure(options: ModelOptions, photo: str | None, layer: str | None, *, as_json: bool) -> int:
    """Print the table, or one JSON document."""
    from scorecam.backends.pytorch.engines import compare_engines
    from scorecam.cli.records import path_text
    from scorecam.scoring.probe import probe_of

    model = open_model(options)
    image = _random_image(model) if photo is None else model.read(photo).image
    engines = compare_engines(model, probe_of(model, image, layer))
    if as_json:
        items = [dataclasses.asdict(engine) for engine in engines]
        document = {
            "schema": 1,
            "model": model.spec,
            "device": str(model.device),
            "image": None if photo is None else path_text(photo),
            "items": items,
        }
        print_document(json.dumps(document, indent=2))
        return DONE
    if not engines:
        print_message(f"{model.spec} runs in {model.runtimes[0]} only, so there is no choice.")
        return DONE
    print_lines(*_table(engines))
    return DONE


def _random_image(model: Model) -> Image:
    """Random numbers in the size that the model takes."""
    import torch

    from scorecam.model.inputs import one_image
    from scorecam.scoring.blank import blank

    images, _ = one_image(blank(model), model, run=True)
    print_message(
        "No photo was given, so random numbers were used. Times are the same for photos, but maps "
        "may agree better or worse."
    )
    return torch.rand(images[0].shape, generator=torch.Generator().manual_seed(0))


def _table(engines: Sequence[MeasuredEngine]) -> list[str]:
    """Aligned columns; an arrow marks the choice."""
    rows = [COLUMNS, *(_cells(engine) for engine in engines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS) - 1)]
    marks = [" ", *("→" if engine.chosen else " " for engine in engines)]
    return [
        f"{mark} " + "  ".join([*(f"{row[i]:<{width}}" for i, width in enumerate(widths)), row[-1]])
        for mark, row in zip(marks, rows, strict=True)
    ]


def _cells(engine: MeasuredEngine) -> tuple[str, ...]:
    return (
        engine.runtime,
        engine.precision,
        "-" if engine.seconds is None else f"{1000 * engine.seconds:.3g}",
        "-" if engine.distance is None else f"{engine.distance:.2g}",
        "yes" if engine.agrees else "no",
        "-" if engine.conversion_seconds is None else f"{engine.conversion_seconds:.2g} s",
        "-" if engine.images_to_pay is None else f"{engine.images_to_pay:,} images",
        engine.why,
    )
