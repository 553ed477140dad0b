"""The commands that measure a whole data set."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scorecam.base.wording import shortened
from scorecam.cli.options import (
    BAD_INPUT,
    GATE_FAILED,
    INTERRUPTED,
    SOME_FAILED,
    DeviceOption,
    HeadOption,
    JsonOption,
    LabelsOption,
    ModelOption,
    PreprocessOption,
    WeightsOption,
    count,
    open_model,
)
from scorecam.cli.output import answer, answer_json, answer_text, say
from scorecam.cli.progress import RunBar
from scorecam.errors import DatasetError, MemoryShortage, OutputError, SettingError

if TYPE_CHECKING:
    from scorecam.datasets.sample import Dataset
    from scorecam.model.model import Model
    from scorecam.runs.evaluate import Progress as RunProgress
    from scorecam.runs.summary import Summary


def evaluate(  # noqa: PLR0917  (typer calls it by keyword)
    dataset: Annotated[
        str,
        typer.Argument(help="A folder or list of photos; folder:, imagenet:, voc:, coco:, list:."),
    ],
    out: Annotated[str, typer.Option("--out", help="The run's folder: an old one goes on.")],
    model: ModelOption = None,
    weights: WeightsOption = None,
    preprocess: PreprocessOption = None,
    labels: LabelsOption = None,
    head: HeadOption = "auto",
    device: DeviceOption = None,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            help="scorecam,scorecam:variant=algorithm1,gradcam,...; the first is compared with.",
        ),
    ] = "scorecam",
    metrics: Annotated[
        str, typer.Option("--metrics", help="paper, quick, localisation, all, or names.")
    ] = "paper",
    annotations: Annotated[
        str | None,
        typer.Option("--annotations", help="Where boxes or classes lie, if not in DATASET."),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Of VOC, such as val.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="So many photos at random, by --seed.")
    ] = None,
    single: Annotated[
        bool, typer.Option("--single", help="Only photos with exactly one box of their class.")
    ] = False,
    at_most: Annotated[
        float | None,
        typer.Option("--at-most", help="Only objects that cover at most this share, such as 0.5."),
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", help="i/n: every n-th photo, from the i-th.")
    ] = None,
    target: Annotated[
        str, typer.Option("--target", help="Explain the labelled class, or the predicted.")
    ] = "label",
    layer: Annotated[
        str | None, typer.Option("--layer", help="Its name; see scorecam layers.")
    ] = None,
    budget: Annotated[
        str, typer.Option("--budget", help="How many masks: exact (all), fast, or a number.")
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
        str, typer.Option("--batch-size", help="Images per pass, or auto.")
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", help="For whatever is drawn.")] = 0,
    fill: Annotated[
        str, typer.Option("--fill", help="Muted pixels in the measures: run (the mean), or black.")
    ] = "run",
    banks: Annotated[bool, typer.Option("--banks", help="Keep every photo's answers.")] = False,
    gallery: Annotated[
        bool,
        typer.Option("--gallery/--no-gallery", help="Keep what scorecam audit shows of a photo."),
    ] = True,
    retry: Annotated[bool, typer.Option("--retry", help="Do failures again.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Measure methods on a data set: resumable, in a folder that anyone can read."""
    import scorecam
    from scorecam.datasets.opening import open_dataset
    from scorecam.datasets.selection import select
    from scorecam.methods.names import parse_methods
    from scorecam.metrics.names import parse_metrics

    part = _shard(shard)
    named: dict[str, Any] = {"methods": parse_methods(methods), "metrics": parse_metrics(metrics)}
    chosen = select(
        open_dataset(
            _foreign(dataset), annotations=annotations and _foreign(annotations), split=split
        ),
        limit=limit,
        seed=seed,
        single=single,
        at_most=at_most,
    )
    opened = open_model(
        model, weights=weights, preprocess=preprocess, labels=labels, head=head, device=device
    )
    settings: dict[str, Any] = {
        "out": out,
        "layer": layer,
        "target": target,
        "budget": count(budget),
        "tolerance": tolerance,
        "precision": precision,
        "runtime": runtime,
        "batch_size": count(batch_size),
        "seed": seed,
        "shard": part,
        "banks": banks,
        "gallery": gallery,
        "retry": retry,
        "fill": fill,
        "tell": say,
    }
    with _resumable(opened.spec, out) as progress:
        summary = scorecam.evaluate(opened, chosen, **named, **settings, progress=progress)
    return _answer(summary, as_json=as_json)


def sanity(  # noqa: PLR0917  (typer calls it by keyword)
    photos: Annotated[
        list[str], typer.Argument(metavar="DATASET|IMAGE...", help="A data set, or photos.")
    ],
    out: Annotated[str, typer.Option("--out", help="Its folder: an old one goes on.")],
    model: ModelOption = None,
    weights: WeightsOption = None,
    preprocess: PreprocessOption = None,
    labels: LabelsOption = None,
    head: HeadOption = "auto",
    device: DeviceOption = None,
    methods: Annotated[
        str, typer.Option("--methods", help="edges is a control: it must fail.")
    ] = "scorecam,gradcam,edges",
    modes: Annotated[
        str, typer.Option("--modes", help="cascading, independent, or both with a comma.")
    ] = "cascading,independent",
    seeds: Annotated[int, typer.Option("--seeds", help="Networks drawn for each stage.")] = 1,
    shuffled: Annotated[
        str | None,
        typer.Option("--shuffled", help="Weights of the same network, trained on shuffled labels."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="So many photos at random.")] = None,
    layer: Annotated[
        str | None, typer.Option("--layer", help="Its name; see scorecam layers.")
    ] = None,
    budget: Annotated[
        str, typer.Option("--budget", help="How many masks: fast, exact (all), or a number.")
    ] = "fast",
    runtime: Annotated[
        str, typer.Option("--runtime", help="auto, eager, openvino or compile.")
    ] = "auto",
    as_json: JsonOption = False,
) -> int:
    """Check that maps change when the weights do: the model-randomisation sanity check."""
    import scorecam
    from scorecam.datasets.selection import select
    from scorecam.methods.names import parse_methods

    named: dict[str, Any] = {
        "methods": parse_methods(methods),
        "modes": [mode.strip() for mode in modes.split(",")],
    }
    chosen = select(_photos(photos), limit=limit)
    opened = open_model(
        model, weights=weights, preprocess=preprocess, labels=labels, head=head, device=device
    )
    other = None
    if shuffled is not None:
        given = {"preprocess": preprocess, "labels": labels, "head": head, "device": device}
        other = open_model(model, weights=shuffled, **given, quiet=True)  # type: ignore[arg-type]
    settings: dict[str, Any] = {"out": out, "seeds": seeds, "layer": layer, "runtime": runtime}
    settings["shuffled"] = other
    with _resumable(opened.spec, out) as progress:
        found = scorecam.sanity(
            opened, chosen, **named, **settings, budget=count(budget), progress=progress
        )
    for name, message in found.failures.items():
        say(f"scorecam: {name}: {message}")
    if as_json:
        answer_json((found.folder / "sanity.json").read_text("utf-8"))
    else:
        answer_text(found.table)
        answer(f"Everything is in {found.folder}: sanity.json, table.md, and pictures.")
    return SOME_FAILED if found.failures else 0


def compare(  # noqa: PLR0917  (typer calls it by keyword)
    sides: Annotated[
        list[str],
        typer.Argument(
            metavar="A B... [DATASET]",
            help="Models, such as lite0,precision=bfloat16, or runs' folders; photos come last.",
        ),
    ],
    out: Annotated[str, typer.Option("--out", help="Its folder: an old one goes on.")],
    preprocess: PreprocessOption = None,
    labels: LabelsOption = None,
    head: HeadOption = "auto",
    device: DeviceOption = None,
    method: Annotated[str, typer.Option("--method", help="Whose maps.")] = "scorecam",
    budget: Annotated[
        str, typer.Option("--budget", help="How many masks: exact (all), fast, or a number.")
    ] = "exact",
    limit: Annotated[int | None, typer.Option("--limit", help="So many photos at random.")] = None,
    fail_under: Annotated[
        str | None,
        typer.Option("--fail-under", help="Exit with 3 under these: similarity=0.95,focus=0.4."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Compare models, checkpoints, precisions or runs on the same photos; a gate for releases."""
    import scorecam
    from scorecam.datasets.opening import open_dataset
    from scorecam.datasets.selection import select
    from scorecam.runs.compare.sides import parse_side

    gates = _gates(fail_under)
    photos = None
    # Photos come last, unless everything that is named is a run.
    if not all(parse_side(side).is_run for side in sides):
        *sides, last = sides
        try:
            photos = select(open_dataset(_foreign(last)), limit=limit)
        except DatasetError as error:
            likely = f"Photos come last: {last} was taken for them. {error.likely}".strip()
            raise DatasetError(error.what, likely=likely, do=error.do) from error

    known: set[str] = set()

    def opener(spec: str, **settings: str) -> Model:
        given = {"preprocess": preprocess, "labels": labels, "head": head, "device": device}
        quiet = f"{spec} {settings}" in known  # a side is opened twice, and spoken of once
        known.add(f"{spec} {settings}")
        return open_model(spec, **{**given, **settings}, quiet=quiet)  # type: ignore[arg-type]

    with _resumable("compare", out) as progress:
        found = scorecam.compare(
            sides,
            photos,
            out=out,
            method=method,
            budget=count(budget),
            fail_under=gates,
            opener=opener,
            progress=progress,
        )
    if as_json:
        answer_json((found.folder / "compare.json").read_text("utf-8"))
    else:
        answer_text(found.table)
        files = "compare.html, compare.json, compare.md, focus.png"
        answer(f"Everything is in {found.folder}: {files}.")
    for sentence in found.failed:
        say(f"scorecam: {sentence}. The gate is shut.")
    return GATE_FAILED if found.failed else 0


@contextlib.contextmanager
def _resumable(name: str, out: str) -> Generator[Callable[[RunProgress], None]]:
    """Progress of something that goes on where it was stopped, which is said where it is."""
    bar = RunBar(name)
    goes_on = f"What is done is kept in {shortened(out, 200)}; the same command goes on from there."
    try:
        with bar as progress, redirect_stdout(sys.stderr):
            yield progress
    except (OutputError, MemoryShortage) as error:
        if not _kept(out):
            raise
        say(f"scorecam: {error} {goes_on}")
        raise typer.Exit(SOME_FAILED) from error
    except KeyboardInterrupt as interrupt:
        say(f"scorecam: interrupted. {goes_on}")
        raise typer.Exit(INTERRUPTED) from interrupt


def _kept(out: str) -> bool:
    """Whether there is a record in a folder or in a comparison's runs, or a comparison."""
    from pathlib import Path

    with contextlib.suppress(OSError):
        found = (any(Path(out).glob(each)) for each in ("**/items/*/??/*.json", "compare.json"))
        return any(found)
    return False


def _gates(text: str | None) -> dict[str, float]:
    """`similarity=0.95,focus=0.4` as numbers."""
    from scorecam.io.ranges import real

    gates: dict[str, float] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        number = real(value)
        if not equals or number is None:
            raise SettingError(
                f"--fail-under {part:.80} is no gate.", do="Write it as similarity=0.95,focus=0.4."
            )
        if name.strip() in gates:
            raise SettingError(f"The gate {name.strip():.80} is there twice.", do="Name it once.")
        gates[name.strip()] = number
    if text is not None and not gates:
        raise SettingError(
            "--fail-under names no gate.",
            likely="A variable that it is filled from is empty.",
            do="Write similarity=0.95,focus=0.4, or leave it out.",
        )
    return gates


def _foreign(path: str) -> Any:
    """A path of a data set that the system can be asked about."""
    from scorecam.io.arguments import path as as_path

    return as_path("path", path, DatasetError)


def _photos(named: list[str]) -> Dataset:
    """The data set that is named, or one of the photos that are."""
    from pathlib import Path

    from scorecam.datasets.opening import open_dataset
    from scorecam.datasets.photos import is_photo
    from scorecam.datasets.sample import Dataset, Sample

    if len(named) == 1 and not is_photo(named[0]):
        return open_dataset(_foreign(named[0]))
    samples = {name: Sample(name, Path(name)) for name in named}
    return Dataset(Path(), "photos", tuple(samples[name] for name in sorted(samples)), ())


def _answer(summary: Summary, *, as_json: bool) -> int:
    """Print what was found; the exit code."""
    from scorecam.cli import saving
    from scorecam.runs.summary import items

    for remark in summary.news:
        say(remark)
    if as_json:
        answer_json(saving.document(items(summary), sys.stdout.encoding))
    else:
        answer_text(summary.table)
        answer(f"Everything is in {summary.folder}: results.parquet, summary.json, table.md.")
    for kind, photos in summary.failures.items():
        have = "photo has" if photos == 1 else "photos have"
        say(f"scorecam: {photos} {have} no result: {kind}. The records in items/ say why.")
    if len(summary.failed) > sum(summary.failures.values()):
        say(f"scorecam: {len(summary.failed)} of the photos' explanations failed.")
    if not summary.failed:
        return 0
    return BAD_INPUT if sum(summary.failures.values()) == summary.done else SOME_FAILED


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    from scorecam.io.ranges import whole

    first, slash, second = text.partition("/")
    numbers = whole(first), whole(second)
    if slash and numbers[0] is not None and numbers[1] is not None:
        return numbers[0], numbers[1]
    raise SettingError(
        f"--shard {text:.80} is not i/n.", do="For example --shard 1/4 for the first of four parts."
    )
