"""The command that describes the installation."""

from __future__ import annotations

from scorecam.cli.exits import DONE
from scorecam.cli.output import print_lines

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


def doctor() -> int:
    """Show installed versions, devices, and optional libraries that are missing."""
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
