"""The command that measures methods on a data set."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scorecam.cli.exits import BAD_INPUT, DONE, SOME_FAILED
from scorecam.cli.groups import SettingOptions, SettingValues
from scorecam.cli.known import MASKED_PIXELS, METRIC_PRESETS, any_of
from scorecam.cli.opening import check_dataset_path, open_model
from scorecam.cli.options import JsonOption, LayerOption, LimitOption, ModelOptions, RunOption
from scorecam.cli.output import print_document, print_lines, print_message, print_text
from scorecam.cli.resuming import resumable
from scorecam.datasets.formats import FORMATS, Option
from scorecam.errors import SettingError

if TYPE_CHECKING:
    from scorecam.runs.summary import Summary


def _formats_with(option: Option) -> str:
    return any_of(name for name, options in FORMATS.items() if option in options)


def evaluate(
    *,
    dataset: Annotated[
        str,
        typer.Argument(
            help="A folder or a list of photos; "
            f"{', '.join(f'{name}:' for name in FORMATS)} before a path name its format."
        ),
    ],
    out: RunOption,
    source: ModelOptions,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            help="Methods to measure, such as scorecam,scorecam:variant=algorithm1,gradcam. "
            "The others are compared with the first.",
        ),
    ] = "scorecam",
    metrics: Annotated[
        str,
        typer.Option("--metrics", help=f"{', '.join(METRIC_PRESETS)}, or names of metrics."),
    ] = METRIC_PRESETS[0],
    annotations: Annotated[
        str | None,
        typer.Option(
            "--annotations",
            help=f"Boxes or classes of {_formats_with('annotations')}, if not in DATASET.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help=f"Split of {_formats_with('split')}, such as val.")
    ] = None,
    limit: LimitOption = None,
    single: Annotated[
        bool, typer.Option("--single", help="Use only photos with exactly one box of their class.")
    ] = False,
    at_most: Annotated[
        float | None,
        typer.Option(
            "--at-most",
            help="Use only photos whose objects cover at most this share, such as 0.5.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", help="i/n: every n-th photo, starting with the i-th."),
    ] = None,
    target: Annotated[
        str, typer.Option("--target", help="Class to explain: label or predicted.")
    ] = "label",
    layer: LayerOption = None,
    # --methods names the variants.
    settings: Annotated[
        SettingValues,
        SettingOptions(without=("variant",), flags={"masking": "--mask-fill"}),
    ],
    fill: Annotated[
        str,
        typer.Option(
            "--fill", help=f"Masked pixels in metrics: {MASKED_PIXELS[0]} (mean) or black."
        ),
    ] = MASKED_PIXELS[0],
    banks: Annotated[
        bool, typer.Option("--banks", help="Keep the score bank of every photo.")
    ] = False,
    gallery: Annotated[
        bool,
        typer.Option(
            "--gallery/--no-gallery", help="Keep the pictures that `scorecam audit` shows."
        ),
    ] = True,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed photos again.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Measure methods on a data set. Writes a folder of plain files and can be resumed."""
    import scorecam
    from scorecam.datasets.opening import open_dataset
    from scorecam.datasets.selection import select
    from scorecam.methods.names import parse_methods
    from scorecam.metrics.names import parse_metrics

    part = parse_shard(shard)
    measured: dict[str, Any] = {
        "methods": parse_methods(methods),
        "metrics": parse_metrics(metrics),
    }
    whole = open_dataset(
        check_dataset_path(dataset),
        annotations=annotations and check_dataset_path(annotations),
        split=split,
    )
    chosen = select(whole, limit=limit, seed=settings["seed"], single=single, at_most=at_most)
    model = open_model(source)
    with resumable(model.spec, out) as progress:
        summary = scorecam.evaluate(
            model,
            chosen,
            out=out,
            layer=layer,
            target=target,  # type: ignore[arg-type]
            shard=part,
            banks=banks,
            gallery=gallery,
            retry=retry,
            fill=fill,  # type: ignore[arg-type]
            tell=print_message,
            progress=progress,
            **measured,
            **settings,
        )
    _print_summary(summary, as_json=as_json)
    return _exit_code(summary)


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """`1/4` as numbers.

    Raises:
        SettingError: the text has another form.
    """
    if text is None:
        return None
    from scorecam.io.ranges import parse_whole

    first, slash, second = text.partition("/")
    index, count = parse_whole(first), parse_whole(second)
    if slash and index is not None and count is not None:
        return index, count
    raise SettingError(
        f"--shard {text:.80} does not have the form i/n.",
        do="Use, for example, --shard 1/4 for the first of four parts.",
    )


def _print_summary(summary: Summary, *, as_json: bool) -> None:
    from scorecam.cli.records import json_document
    from scorecam.runs.summary import items

    for remark in summary.news:
        print_message(remark)
    if as_json:
        print_document(json_document(items(summary), sys.stdout.encoding))
    else:
        print_text(summary.table)
        print_lines(f"Results are in {summary.folder}: results.parquet, summary.json, table.md.")
    for kind, photos in summary.failures.items():
        noun = "photo has" if photos == 1 else "photos have"
        print_message(f"scorecam: {photos} {noun} no result: {kind}. See the records in items/.")
    if len(summary.failed) > sum(summary.failures.values()):
        print_message(f"scorecam: {len(summary.failed)} explanations failed.")


def _exit_code(summary: Summary) -> int:
    if not summary.failed:
        return DONE
    return BAD_INPUT if sum(summary.failures.values()) == summary.done else SOME_FAILED
