"""The command that explains the bundled photo."""

from __future__ import annotations

from typing import Annotated

import typer

from scorecam.cli.exits import DONE
from scorecam.cli.opening import open_model
from scorecam.cli.options import DEFAULT_MODEL, ModelOptions
from scorecam.cli.output import print_lines, print_message


def demo(*, out: Annotated[str, typer.Option(help="Output folder.")] = "out") -> int:
    """Explain the bundled photo with the bundled model."""
    from importlib import resources

    from scorecam.cli.explain import explain_photo, print_items
    from scorecam.cli.saving import OutputFolder

    with resources.as_file(resources.files("scorecam").joinpath("data/chelsea.jpg")) as photo:
        model = open_model(ModelOptions(DEFAULT_MODEL))
        print_message(f"Explaining what {model.spec} sees in {photo.name}, a photo of a cat.")
        folder = OutputFolder(out, force=True)
        [item] = explain_photo(
            model, str(photo), folder, targets=[None], settings={"variant": "centred"}
        )
    print_items([item])
    print_lines("", f"Open  {item['files']['overlay']}    the heatmap on the photo")
    print_lines(f"and   {out}/{photo.stem}.json    the settings, the result and its warnings")
    bank = item["files"]["bank"]
    print_lines(f"Then  scorecam show {bank} --target 'Egyptian cat' --variant centred")
    return DONE
