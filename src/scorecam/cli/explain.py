"""The command that explains photos."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scorecam.cli.groups import SettingOptions, SettingValues
from scorecam.cli.opening import open_model
from scorecam.cli.options import ForceOption, ImagesArgument, JsonOption, LayerOption, ModelOptions
from scorecam.cli.output import print_lines, print_message
from scorecam.cli.progress import MaskProgressBar
from scorecam.cli.targets import check_names, of_target, read_target

if TYPE_CHECKING:  # imported when a command runs: --help must not wait for torch
    from PIL import Image

    from scorecam.cli.records import Item
    from scorecam.cli.saving import OutputFolder
    from scorecam.explanation.explanation import Explanation
    from scorecam.methods.method import Method
    from scorecam.model.model import Model

TOP5 = "top5"


def explain(
    *,
    images: ImagesArgument,
    source: ModelOptions,
    layer: LayerOption = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            help=f"A class by name or index, or {TOP5}; with --task also a point x,y, a box "
            "x1,y1,x2,y2 or the file of a mask. May be repeated. [default: the prediction]",
        ),
    ] = None,
    settings: Annotated[SettingValues, SettingOptions()],
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help="Methods to draw side by side, such as "
            "scorecam,scorecam:variant=algorithm1,gradcam.",
        ),
    ] = None,
    out: Annotated[str, typer.Option("--out", help="Output folder.")] = "out",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> int:
    """Explain what a model saw in photos: an overlay, a score bank and a record for each."""
    from scorecam.cli.photos import process_photos
    from scorecam.cli.saving import OutputFolder
    from scorecam.methods.names import parse_methods
    from scorecam.methods.runnable import runnable
    from scorecam.model.engine import Speed
    from scorecam.model.offers import check_offered

    named = parse_methods(methods) if methods is not None else []
    targets = target or [None]
    folder = OutputFolder(out, force=force)
    model = open_model(source)
    check_offered(model, Speed(settings["runtime"], settings["precision"]))
    compared, remarks = runnable(named, model)
    for remark in remarks:
        print_message(remark)
    check_names(model, [target for target in targets if target != TOP5])

    def process(image: str) -> list[Item]:
        return explain_photo(
            model,
            image,
            folder,
            targets=targets,
            settings={"layer": layer, **settings},
            methods=compared,
        )

    def report(items: list[Item]) -> None:
        if not as_json:
            print_items(items)

    outcome = process_photos(images, model.spec, process, report)
    return outcome.finish(as_json=as_json, saved_in=out)


def explain_photo(
    model: Model,
    image: str,
    folder: OutputFolder,
    *,
    targets: Sequence[str | None],
    settings: dict[str, Any],
    methods: Sequence[Method] = (),
) -> list[Item]:
    """Explain a photo and save the results; returns one item per target."""
    import scorecam
    from scorecam.budget.plan import FAST
    from scorecam.cli.records import path_text
    from scorecam.methods.names import heatmaps

    stem = folder.claim_stem(image)
    wanted = [None if name == TOP5 else read_target(name, model, image) for name in targets]
    exact = settings.get("budget", "exact") == "exact" and settings.get("tolerance") is None
    bar = MaskProgressBar(
        path_text(Path(image).name),
        f"{model.spec} on {model.device}",
        FAST.expected if exact else None,
    )
    # Whatever the model itself prints goes to stderr: stdout is for results.
    with bar as progress, redirect_stdout(sys.stderr):
        explanation = scorecam.explain(model, image, wanted[0], progress=progress, **settings)
    for remark in explanation.provenance.remarks:
        print_message(remark)
    explanations: list[Explanation] = []
    for number, (name, target) in enumerate(zip(targets, wanted, strict=True)):
        if name == TOP5:
            explanations += explanation.top(5)
        else:
            explanations.append(of_target(explanation, model, target) if number else explanation)

    def draw_methods(explanation: Explanation) -> Image.Image:
        return explanation.side_by_side(heatmaps(model, explanation, methods))

    return folder.save(explanations, image, stem, draw_methods if methods else None)


def print_items(items: Sequence[Item]) -> None:
    """Print explanations, a few lines each; failures are printed when the command ends."""
    from scorecam.cli.records import class_name, value_text

    for item in items:
        if "failure" in item:
            continue
        title = f"{item['image']}: {class_name(item)} {value_text(item)}"
        print_lines(title, f"  {item['files']['overlay']}")
        if item["budget"] != "exact":
            scored, total = item["channels"]["asked"], item["channels"]["total"]
            print_lines(f"  {scored} of {total} masks; estimated error {item['error']:.2f}")
        for note in item["health"]:
            print_lines(f"  ! {note['code']}: {note['sentence']}")
        if not item["health"]:
            print_lines("  No warnings. This is not a trust check; run `scorecam check`.")
