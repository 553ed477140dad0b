"""The command that describes the installation."""

from __future__ import annotations

from typing import Annotated

import typer

from scorecam.cli import doctor_measure
from scorecam.cli.exits import DONE
from scorecam.cli.options import (
    JsonOption,
    LayerOption,
    ModelOptions,
    PreprocessOption,
    WeightsOption,
)
from scorecam.cli.output import print_lines
from scorecam.errors import SettingError

PACKAGES = ("scorecam", "torch", "numpy", "pillow", "safetensors", "typer")

OPTIONAL = (
    ("tifffile", "TIFF files of several bands", "pip install 'scorecam[tiff]'"),
    ("nibabel", "NIfTI volumes", "pip install 'scorecam[medical]'"),
    ("pydicom", "DICOM images", "pip install 'scorecam[medical]'"),
    ("captum", "gradient and occlusion", "pip install 'scorecam[eval]'"),
    ("torchcam.methods", "Grad-CAM and variants", "pip install 'scorecam[eval]'"),
    ("pyarrow", "results of evaluate", "pip install 'scorecam[eval]'"),
    ("scipy", "intervals", "pip install 'scorecam[eval]'"),
    ("matplotlib", "plots of evaluate", "pip install 'scorecam[plot]'"),
)
"""Optional modules, what needs them, and how to install them. Backends contribute their own."""


def doctor(
    *,
    measure: Annotated[
        str | None,
        typer.Option(
            "--measure",
            metavar="MODEL",
            help="Measure how fast each runtime and precision scores masked images of this model, "
            "and whether its map agrees.",
        ),
    ] = None,
    photo: Annotated[
        str | None,
        typer.Argument(metavar="PHOTO", help="Measure on this photo, not on random numbers."),
    ] = None,
    weights: WeightsOption = None,
    preprocess: PreprocessOption = None,
    layer: LayerOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show installed versions, devices, and optional libraries that are missing.

    With --measure, show instead what runtime "auto" and precision "auto" choose from: the time of
    one masked image, how far the scaled map of a few masks moves, the time of the conversion, and
    the number of masked images after which "auto" converts.
    """
    if measure is not None:
        random = weights is None and measure.startswith(("torchvision:", "timm:"))
        options = ModelOptions(measure, "random" if random else weights, preprocess)
        return doctor_measure.measure(options, photo, layer, as_json=as_json)
    unused = {"PHOTO": photo, "--weights": weights, "--preprocess": preprocess, "--layer": layer}
    given = [name for name, value in unused.items() if value is not None]
    if given or as_json:
        raise SettingError(
            f"{' and '.join([*given, *(['--json'] if as_json else [])])} needs --measure.",
            do="Give the model to measure, for example --measure lite0.",
        )
    return _installation()


def _installation() -> int:
    """Print what is installed."""
    import platform
    from importlib import metadata
    from itertools import zip_longest

    import torch

    from scorecam.backends.opening import diagnoses

    backends = diagnoses()
    for name in PACKAGES:
        print_lines(f"{name:<12} {metadata.version(name)}")
    for backend in backends:
        print_lines(*(f"{name:<12} {version}" for name, version in backend.versions.items()))
    # platform.platform() would run the program `uname`.
    machine = f"{platform.system()} {platform.release()} {platform.machine()}"
    print_lines(f"{'python':<12} {platform.python_version()} on {machine}")
    print_lines(f"{'threads':<12} {torch.get_num_threads()}")
    devices = [device for backend in backends for device in backend.devices]
    for heading, device in zip_longest(["devices"], dict.fromkeys(devices), fillvalue=""):
        print_lines(f"{heading:<12} {device}")
    optional = [library for backend in backends for library in backend.optional]
    for module, purpose, install in (*optional, *OPTIONAL):
        print_lines(f"{purpose:<24} {_availability(module, install)}")
    for backend in backends:
        print_lines(*backend.advice)
    return DONE


def _availability(module: str, install: str) -> str:
    """Whether an optional module can be imported; if not, the reason or how to install it."""
    from importlib import import_module, util

    from scorecam.base import quiet_matplotlib
    from scorecam.base.wording import reason

    quiet_matplotlib.prepare()  # Captum and torchcam import it too
    if util.find_spec(module.partition(".")[0]) is None:
        return f"no: {install}"
    try:
        import_module(module)
    except Exception as error:  # noqa: BLE001  (a broken library can raise anything)
        return f"installed, but cannot be imported: {reason(error)}"
    return "yes"
