"""The command that says how far one map may be believed."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scorecam.cli.options import (
    BAD_INPUT,
    INTERRUPTED,
    SOME_FAILED,
    DeviceOption,
    HeadOption,
    JsonOption,
    LabelsOption,
    ModelOption,
    PreprocessOption,
    VariantOption,
    WeightsOption,
    count,
    open_model,
)
from scorecam.cli.output import answer, answer_json, say
from scorecam.cli.progress import Bar
from scorecam.errors import ScorecamError

if TYPE_CHECKING:  # imported when a command runs: --help must not wait for torch
    from scorecam.explanation import Explanation
    from scorecam.model.model import Model
    from scorecam.trust.verdict import Trust

Item = dict[str, Any]

MARKS = {"passed": "+", "weak": "~", "failed": "!", "cannot be told": "?"}
"""How evidence is marked in print."""


def check(  # noqa: PLR0917  (typer calls it by keyword)
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Photos.")],
    model: ModelOption = None,
    weights: WeightsOption = None,
    preprocess: PreprocessOption = None,
    labels: LabelsOption = None,
    head: HeadOption = "auto",
    device: DeviceOption = None,
    layer: Annotated[
        str | None, typer.Option("--layer", help="Its name; see scorecam layers.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="A class by name or index. [default: predicted]")
    ] = None,
    variant: VariantOption = "official",
    budget: Annotated[
        str,
        typer.Option("--budget", help="How many masks: exact (all), fast (some 50), or a number."),
    ] = "fast",
    runtime: Annotated[
        str, typer.Option("--runtime", help="auto, eager, openvino or compile.")
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", help="For whatever is drawn.")] = 0,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", help="Evidence to leave out, by code; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Check how far a map may be believed: usable, weak or don't show, and the evidence.

    Every verdict is an answer: the exit code is 0 for "don't show" as well. It is 1 where some
    photos could not be checked, and 2 where none could.
    """
    from scorecam.cli import saving
    from scorecam.model.target import check_target
    from scorecam.trust.checking import known_codes

    codes = known_codes(without or ())
    opened = open_model(
        model, weights=weights, preprocess=preprocess, labels=labels, head=head, device=device
    )
    check_target(opened, target)
    options: dict[str, Any] = {
        "target": target,
        "layer": layer,
        "variant": variant,
        "budget": count(budget),
        "runtime": runtime,
        "seed": seed,
    }
    items: list[Item] = []
    interrupted = False
    try:
        for image in images:
            try:
                item = _checked(opened, image, options, codes, seed)
            except ScorecamError as error:
                item = saving.failure(error, image, opened.spec)
            items.append(item)
            if not as_json:
                _report(item)
    except KeyboardInterrupt:
        interrupted = True
    if as_json:
        answer_json(saving.document(items, sys.stdout.encoding))
    return _ended(items, interrupted=interrupted)


def _ended(items: list[Item], *, interrupted: bool) -> int:
    """What went wrong, once each, and the exit code."""
    failed = [item["failure"]["message"] for item in items if "failure" in item]
    for message in dict.fromkeys(failed):  # what is wrong for every photo is said once
        say(f"scorecam: {message}")
    if interrupted:
        say("scorecam: interrupted.")
        return INTERRUPTED
    if not failed:
        return 0
    return SOME_FAILED if len(failed) < len(items) else BAD_INPUT


def _checked(
    model: Model, image: str, options: dict[str, Any], without: frozenset[str], seed: int
) -> Item:
    """One photo explained and checked; the cost is said before it is paid."""
    from pathlib import Path

    import scorecam
    from scorecam.cli import saving
    from scorecam.trust.checking import cost

    name = saving.named(Path(image).name)
    # What a model prints of its own accord goes to stderr: stdout is for results.
    with redirect_stdout(sys.stderr):
        with Bar(name, f"{model.spec} on {model.device}") as progress:
            explained = scorecam.explain(model, image, progress=progress, **options)
        for remark in explained.provenance.remarks:
            say(remark)
        say(f"{name}: the check takes {cost(model, explained, without=without).sentence}.")
        trust = scorecam.check(model, explained, seed=seed, without=without)
    return _item(image, explained, trust)


def _item(image: str, explained: Explanation, trust: Trust) -> Item:
    """A verdict as a record of plain values."""
    import dataclasses

    from scorecam.cli import saving

    target, made = explained.target, explained.provenance
    return {
        "image": saving.named(image),
        "model": made.model,
        "layer": explained.layer,
        "variant": explained.variant.name,
        "target": {
            "index": target.index,
            "name": target.name,
            "probability": target.probability,
        },
        "budget": made.budget,
        "verdict": trust.verdict,
        "doubt": trust.doubt,
        "sentence": trust.sentence,
        "evidence": [dataclasses.asdict(evidence) for evidence in trust.evidence],
        "forward_passes": {"explanation": made.forward_passes, "check": trust.passes},
        "seconds": round(trust.seconds, 3),
    }


def _report(item: Item) -> None:
    """The verdict and its evidence, a line each."""
    if "failure" in item:
        return
    target = item["target"]
    name = target["name"] or f"class {target['index']}"
    answer(f"{item['image']}: {name}: {item['sentence']}")
    for evidence in item["evidence"]:
        mark = MARKS[evidence["state"]]
        answer(f"  {mark} {evidence['code']}: {evidence['sentence']}")
