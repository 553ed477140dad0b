"""The options that several commands share: name, type and help text, each written once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from scorecam.cli.known import BUNDLED_MODELS, HEADS, PRECISIONS, RUNTIMES, VARIANTS, any_of

DEFAULT_MODEL = BUNDLED_MODELS[0]

# ── the model ────────────────────────────────────────────────────────────────────────────────

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help=f"{', '.join(BUNDLED_MODELS)}, torchvision:NAME, or package.module:factory. "
        f"[default: {DEFAULT_MODEL}]",
        show_default=False,
    ),
]
WeightsOption = Annotated[
    str | None, typer.Option("--weights", help="A safetensors file or a checkpoint.")
]
PreprocessOption = Annotated[
    str | None,
    typer.Option("--preprocess", help="How photos become inputs: imagenet, or a JSON file."),
]
LabelsOption = Annotated[
    str | None,
    typer.Option("--labels", help="Class names: a file with one name per line, or imagenet."),
]
HeadOption = Annotated[
    str, typer.Option("--head", help=f"What the model's outputs are: {any_of(HEADS)}.")
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="Where the model runs, such as cpu or cuda:0.")
]


@dataclass(frozen=True)
class ModelOptions:
    """The options that say which model to open, and how."""

    model: ModelOption = None
    weights: WeightsOption = None
    preprocess: PreprocessOption = None
    labels: LabelsOption = None
    head: HeadOption = "auto"
    device: DeviceOption = None


# ── the explanation ──────────────────────────────────────────────────────────────────────────

LayerOption = Annotated[
    str | None,
    typer.Option("--layer", help="Layer to explain; list them with `scorecam layers`."),
]
VariantOption = Annotated[
    str, typer.Option("--variant", help=f"How scores become weights: {any_of(VARIANTS)}.")
]
BudgetOption = Annotated[
    str,
    typer.Option(
        "--budget", help="Number of masks to score: exact (all), fast (about 50), or a number."
    ),
]
ToleranceOption = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        help="Stop when the estimated error is below this (0-1). Replaces --budget.",
    ),
]
PrecisionOption = Annotated[
    str, typer.Option("--precision", help=f"Precision of the masked passes: {any_of(PRECISIONS)}.")
]
RuntimeOption = Annotated[
    str, typer.Option("--runtime", help=f"What runs the masked passes: {any_of(RUNTIMES)}.")
]
BatchSizeOption = Annotated[
    str, typer.Option("--batch-size", help="Masked images per pass: a number, or auto.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Random seed.")]

# ── data sets and files ──────────────────────────────────────────────────────────────────────

ImagesArgument = Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Photos to explain.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", help="Use at most this many photos, chosen at random.")
]
RunOption = Annotated[
    str, typer.Option("--out", help="Output folder. Resumes an unfinished run in it.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


# ── groups ───────────────────────────────────────────────────────────────────────────────────


def with_option_groups(command: Callable[..., int]) -> Callable[..., int]:
    """Replace every parameter that is a dataclass of options by those options.

    On the command line, `def explain(*, source: ModelOptions)` has the options --model, --weights
    and so on, in the place of `source`; the command receives them as one object.
    """
    types = typing.get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if dataclasses.is_dataclass(types[name]):
            groups[name] = types[name]
            parameters += inspect.signature(types[name], eval_str=True).parameters.values()
        else:
            parameters.append(parameter.replace(annotation=types[name]))

    @functools.wraps(command)
    def run(**given: Any) -> int:
        for name, group in groups.items():
            fields = [field.name for field in dataclasses.fields(group)]
            given[name] = group(**{field: given.pop(field) for field in fields})
        return command(**given)

    keyword_only = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    run.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in keyword_only}
    return run


def number_or_word(text: str) -> Any:
    """An option such as --budget as a number if it is one; the library checks the words."""
    from scorecam.io.ranges import whole

    number = whole(text)
    return text if number is None else number
