"""The command that checks how far a map can be trusted."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scorecam.cli.groups import SettingOptions, SettingValues
from scorecam.cli.opening import open_model
from scorecam.cli.options import ImagesArgument, JsonOption, LayerOption, ModelOptions
from scorecam.cli.output import print_lines, print_message
from scorecam.cli.progress import MaskProgressBar
from scorecam.cli.targets import check_names, read_target

if TYPE_CHECKING:  # imported when a command runs: --help must not wait for torch
    from scorecam.cli.records import Item
    from scorecam.explanation.explanation import Explanation
    from scorecam.model.model import Model
    from scorecam.trust.verdict import Trust

MARKS = {"passed": "+", "weak": "~", "failed": "!", "cannot be told": "?"}
"""Printed before each piece of evidence, by state."""


def check(
    *,
    images: ImagesArgument,
    source: ModelOptions,
    layer: LayerOption = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            help="A class by name or index; with --task also a point x,y, a box x1,y1,x2,y2 or the "
            "file of a mask. [default: the prediction]",
        ),
    ] = None,
    settings: Annotated[
        SettingValues,
        SettingOptions(only=("variant", "budget", "runtime", "seed"), defaults={"budget": "fast"}),
    ],
    without: Annotated[
        list[str] | None,
        typer.Option("--without", help="Code of evidence to leave out; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Check whether a map can be trusted: usable, weak or don't show, with the evidence.

    The exit code does not depend on the verdict: it is 0 for "don't show" too. It is 1 if some
    photos could not be checked, and 2 if no photo could be.
    """
    from scorecam.cli.photos import process_photos
    from scorecam.model.engine import Speed
    from scorecam.model.offers import check_offered
    from scorecam.trust.checking import known_codes

    excluded = known_codes(without or ())
    model = open_model(source)
    check_offered(model, Speed(settings["runtime"]))
    check_names(model, [target])

    def process(image: str) -> list[Item]:
        chosen = {"target": read_target(target, model, image), "layer": layer, **settings}
        return [_check_photo(model, image, chosen, excluded)]

    def report(items: list[Item]) -> None:
        if not as_json:
            _print_items(items)

    return process_photos(images, model.spec, process, report).finish(as_json=as_json)


def _check_photo(
    model: Model, image: str, settings: dict[str, Any], without: frozenset[str]
) -> Item:
    """Explain a photo and check the map; the cost of the check is printed first."""
    from pathlib import Path

    import scorecam
    from scorecam.cli.records import path_text
    from scorecam.trust.checking import cost

    name = path_text(Path(image).name)
    # Whatever the model itself prints goes to stderr: stdout is for results.
    with redirect_stdout(sys.stderr):
        with MaskProgressBar(name, f"{model.spec} on {model.device}") as progress:
            explanation = scorecam.explain(model, image, progress=progress, **settings)
        for remark in explanation.provenance.remarks:
            print_message(remark)
        estimate = cost(model, explanation, without=without).sentence
        print_message(f"{name}: the check takes {estimate}.")
        trust = scorecam.check(model, explanation, seed=settings["seed"], without=without)
    return _item(image, explanation, trust)


def _item(image: str, explanation: Explanation, trust: Trust) -> Item:
    """A verdict as JSON values."""
    import dataclasses

    from scorecam.cli.records import path_text

    target, provenance = explanation.target, explanation.provenance
    return {
        "image": path_text(image),
        "model": provenance.model,
        "layer": explanation.layer,
        "variant": explanation.variant.name,
        "target": {
            "index": target.index,
            "name": target.name,
            "probability": target.probability,
        },
        "budget": provenance.budget,
        "verdict": trust.verdict,
        "doubt": trust.doubt,
        "sentence": trust.sentence,
        "class_free": explanation.class_free,
        "evidence": [dataclasses.asdict(evidence) for evidence in trust.evidence],
        "forward_passes": {"explanation": provenance.forward_passes, "check": trust.passes},
        "seconds": round(trust.seconds, 3),
    }


def _print_items(items: list[Item]) -> None:
    """Print verdicts with their evidence; failures are printed when the command ends."""
    from scorecam.cli.records import class_name

    for item in items:
        if "failure" in item:
            continue
        print_lines(f"{item['image']}: {class_name(item)}: {item['sentence']}")
        if item["class_free"] is not None:
            print_lines(
                f"  = class-free: the plain mean of the activations, the same for every class, "
                f"explains {item['class_free']:.0%} of the map's variance. This adds no doubt."
            )
        for evidence in item["evidence"]:
            mark = MARKS[evidence["state"]]
            print_lines(f"  {mark} {evidence['code']}: {evidence['sentence']}")
