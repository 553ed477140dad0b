"""The options that several commands share: names, types and help texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from scorecam.cli.known import BUNDLED_MODELS, HEADS, any_of

DEFAULT_MODEL = BUNDLED_MODELS[0]

# ── the model ────────────────────────────────────────────────────────────────────────────────

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help=f"{', '.join(BUNDLED_MODELS)}, torchvision:NAME, timm:NAME, hf:FOLDER, or "
        "package.module:factory. "
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
    str | None, typer.Option("--device", help="Device to run the model on, such as cpu or cuda:0.")
]


DownloadOption = Annotated[
    bool,
    typer.Option("--download", help="Download the weights of timm:NAME, or hf:NAME from the hub."),
]


@dataclass(frozen=True)
class ModelOptions:
    """Which model to open, and how."""

    model: ModelOption = None
    weights: WeightsOption = None
    preprocess: PreprocessOption = None
    labels: LabelsOption = None
    head: HeadOption = "auto"
    device: DeviceOption = None
    download: DownloadOption = False


# ── the explanation ──────────────────────────────────────────────────────────────────────────

LayerOption = Annotated[
    str | None,
    typer.Option("--layer", help="Layer to explain; list them with `scorecam layers`."),
]

# ── data sets and files ──────────────────────────────────────────────────────────────────────

ImagesArgument = Annotated[list[str], typer.Argument(metavar="IMAGE", help="Photos to explain.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", help="Use at most this many photos, chosen at random.")
]
RunOption = Annotated[
    str, typer.Option("--out", help="Output folder. Resumes an unfinished run in it.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
