"""The options that several commands share: names, types and help texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import typer

from scorecam.backends.file_words import NETWORK_FILES
from scorecam.cli.known import BUNDLED_MODELS, HEADS, any_of
from scorecam.cli.task_options import TaskOptions

DEFAULT_MODEL = BUNDLED_MODELS[0]

# ── the model ────────────────────────────────────────────────────────────────────────────────

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help=f"{', '.join(BUNDLED_MODELS)}, torchvision:NAME, timm:NAME, hf:FOLDER, "
        f"package.module:factory, or a file: {', '.join(NETWORK_FILES)}. "
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
BandsOption = Annotated[
    str | None,
    typer.Option(
        "--bands",
        help="Bands of a file of numbers that become the model's colours, such as 4,3,2.",
    ),
]
WindowOption = Annotated[
    str | None,
    typer.Option(
        "--window",
        help="Values of a file of numbers that become black and white, such as 0,4095.",
    ),
]
LabelsOption = Annotated[
    str | None,
    typer.Option("--labels", help="Class names: a file with one name per line, or imagenet."),
]
HeadOption = Annotated[
    str, typer.Option("--head", help=f"What the model's outputs are: {any_of(HEADS)}.")
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        help="Where the scores are in the model's output: an index or a name, perhaps with what to "
        "take of each axis, such as 'boxes[:, max, 3]'.",
    ),
]
MaskedInputOption = Annotated[
    str | None,
    typer.Option("--masked-input", help="Which of several inputs is masked, by index or name."),
]
WindowsOption = Annotated[
    str | None,
    typer.Option(
        "--windows",
        help="Run the model on overlapping windows of a larger image: their size, such as 224 or "
        "96,96,64.",
    ),
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
    """Which model to open, and how; and what is explained."""

    model: ModelOption = None
    weights: WeightsOption = None
    preprocess: PreprocessOption = None
    bands: BandsOption = None
    window: WindowOption = None
    labels: LabelsOption = None
    head: HeadOption = "auto"
    output: OutputOption = None
    masked_input: MaskedInputOption = None
    windows: WindowsOption = None
    device: DeviceOption = None
    download: DownloadOption = False
    tasks: TaskOptions = field(default_factory=TaskOptions)


# ── the explanation ──────────────────────────────────────────────────────────────────────────

LayerOption = Annotated[
    str | None,
    typer.Option("--layer", help="Layer to explain; list them with `scorecam layers`."),
]

# ── data sets and files ──────────────────────────────────────────────────────────────────────

ImagesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE",
        help="Photos to explain, or files of numbers (.npy, .npz, .safetensors, TIFF, NIfTI, "
        "DICOM).",
    ),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", help="Use at most this many photos, chosen at random.")
]
RunOption = Annotated[
    str, typer.Option("--out", help="Output folder. Resumes an unfinished run in it.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
