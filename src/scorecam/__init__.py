"""Score-CAM: what an image classifier looked at, without gradients."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scorecam.backends import open_model
    from scorecam.bank import Provenance, ScoreBank
    from scorecam.cam import VARIANTS, Masking, Variant, scaled
    from scorecam.errors import (
        BankError,
        DatasetError,
        LayerError,
        MemoryShortage,
        MissingExtra,
        ModelError,
        OutputError,
        PhotoError,
        RunError,
        ScorecamError,
        SettingError,
        TargetError,
        WeightsError,
    )
    from scorecam.explainer import ScoreCAM, explain, layers
    from scorecam.explanation import Explanation
    from scorecam.health import Note
    from scorecam.model import Layer, Model, Target
    from scorecam.pixels import Preprocess
    from scorecam.runs.compare import compare
    from scorecam.runs.local import evaluate
    from scorecam.runs.sanity import sanity
    from scorecam.runs.verify import Verification, verify
    from scorecam.scoring import Progress
    from scorecam.trust import Trust, check

__all__ = [
    "BankError",
    "check",
    "compare",
    "DatasetError",
    "evaluate",
    "explain",
    "Explanation",
    "Layer",
    "LayerError",
    "layers",
    "Masking",
    "MemoryShortage",
    "MissingExtra",
    "Model",
    "ModelError",
    "Note",
    "open_model",
    "OutputError",
    "PhotoError",
    "Preprocess",
    "Progress",
    "Provenance",
    "RunError",
    "sanity",
    "scaled",
    "ScoreBank",
    "ScoreCAM",
    "ScorecamError",
    "SettingError",
    "Target",
    "TargetError",
    "Trust",
    "Variant",
    "VARIANTS",
    "Verification",
    "verify",
    "WeightsError",
]

# Names are imported when first used, so that `scorecam --help` need not wait for torch.
_HOME = {
    "backends": ("open_model",),
    "bank": ("Provenance", "ScoreBank"),
    "cam": ("Masking", "VARIANTS", "Variant", "scaled"),
    "errors": tuple(name for name in __all__ if name.endswith(("Error", "Shortage", "Extra"))),
    "explainer": ("ScoreCAM", "explain", "layers"),
    "explanation": ("Explanation",),
    "health": ("Note",),
    "model": ("Layer", "Model", "Target"),
    "pixels": ("Preprocess",),
    "runs.compare": ("compare",),
    "runs.local": ("evaluate",),
    "runs.sanity": ("sanity",),
    "runs.verify": ("Verification", "verify"),
    "scoring": ("Progress",),
    "trust": ("Trust", "check"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"scorecam.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'scorecam' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
