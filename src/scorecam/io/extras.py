"""Optional libraries, imported where they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from scorecam.base.wording import reason
from scorecam.errors import MissingExtra

NAMES = {
    "captum": "Captum",
    "nncf": "NNCF",
    "openvino": "OpenVINO",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
"""Names of libraries, where they differ from those of their modules."""


def require(module: str, extra: str, purpose: str) -> Any:
    """Import a library that an extra of scorecam installs.

    Args:
        module: its import name, such as "scipy.stats".
        extra: the extra, such as "eval".
        purpose: what the library does for us, to follow "to": "compute intervals".

    Raises:
        MissingExtra: it is not installed, or its import fails.
    """
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)  # as `import` does: its submodules may be loaded already
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:  # torchvision for another torch: RuntimeError
        absent = (getattr(error, "name", None) or "").partition(".")[0] == package
        absent &= isinstance(error, ModuleNotFoundError)
        what = "is not installed" if absent else f"cannot be imported ({reason(error)})"
        raise MissingExtra(
            f"{NAMES.get(package, package)} {what}. It is needed to {purpose}.",
            do=f"pip install 'scorecam[{extra}]'",
        ) from error
