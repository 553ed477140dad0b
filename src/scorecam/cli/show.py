"""The command that draws from a saved score bank."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scorecam.cli.exits import DONE
from scorecam.cli.groups import SettingOptions, SettingValues
from scorecam.cli.options import ForceOption
from scorecam.cli.output import print_message
from scorecam.errors import OutputError


def show(
    *,
    bank: Annotated[
        str, typer.Argument(metavar="BANK", help="A .safetensors file from `scorecam explain`.")
    ],
    target: Annotated[
        str | None,
        typer.Option("--target", help="A class by name or index. [default: the prediction]"),
    ] = None,
    settings: Annotated[SettingValues, SettingOptions(only=("variant",))],
    out: Annotated[
        str | None,
        typer.Option("--out", help="Picture to write. [default: a PNG file next to the bank]"),
    ] = None,
    force: ForceOption = False,
) -> int:
    """Draw another class or variant from a saved score bank, without running the model."""
    from scorecam import ScoreBank
    from scorecam.cli.explain import print_items
    from scorecam.cli.records import explanation_item
    from scorecam.cli.saving import slug
    from scorecam.explanation.explanation import Explanation
    from scorecam.io.files import replacing, sweep

    loaded = ScoreBank.load(bank)
    for remark in loaded.provenance.remarks:
        print_message(remark)
    explanation = Explanation(loaded, loaded.target(target), loaded.variant(settings["variant"]))
    label, name = slug(explanation.target.label), explanation.variant.name
    picture = Path(out) if out else Path(bank).with_name(f"{Path(bank).stem}.{label}.{name}.png")
    if picture.exists() and not force:
        raise OutputError(f"{picture} already exists.", do="Use --force, or another --out.")
    sweep(picture.parent.glob(".*.tmp"))
    with replacing(picture) as temporary:
        explanation.overlay().save(temporary, "PNG")
    print_items([explanation_item(explanation, bank, picture, Path(bank))])
    return DONE
