"""Score-CAM: what an image classifier looked at, without gradients."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scorecam.backends.opening import open_model
    from scorecam.backends.pytorch.sliding import sliding_window
    from scorecam.bank.bank import Provenance, ScoreBank
    from scorecam.bank.health import Note
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
    from scorecam.explanation.explanation import Explanation
    from scorecam.images.preprocess import Preprocess
    from scorecam.model.model import Layer, Model
    from scorecam.model.target import Target
    from scorecam.runs.compare.compare import compare
    from scorecam.runs.evaluate import evaluate
    from scorecam.runs.map_branch.export import MapExport, export_with_map
    from scorecam.runs.pair import explain_pair
    from scorecam.runs.sanity.sanity import sanity
    from scorecam.runs.verify.verify import Verification, verify
    from scorecam.scoring.progress import Progress
    from scorecam.trust.checking import check
    from scorecam.trust.verdict import Trust

__all__ = [
    "BankError",
    "check",
    "compare",
    "DatasetError",
    "evaluate",
    "explain",
    "explain_pair",
    "Explanation",
    "export_with_map",
    "Layer",
    "LayerError",
    "layers",
    "MapExport",
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
    "sliding_window",
    "Target",
    "TargetError",
    "Trust",
    "Variant",
    "VARIANTS",
    "Verification",
    "verify",
    "WeightsError",
]

# Names are imported at first use, so that `scorecam --help` does not wait for torch.
_HOME = {
    "backends.opening": ("open_model",),
    "backends.pytorch.sliding": ("sliding_window",),
    "bank.bank": ("Provenance", "ScoreBank"),
    "cam": ("Masking", "VARIANTS", "Variant", "scaled"),
    "errors": tuple(name for name in __all__ if name.endswith(("Error", "Shortage", "Extra"))),
    "explainer": ("ScoreCAM", "explain", "layers"),
    "explanation.explanation": ("Explanation",),
    "bank.health": ("Note",),
    "model.model": ("Layer", "Model"),
    "model.target": ("Target",),
    "images.preprocess": ("Preprocess",),
    "runs.compare.compare": ("compare",),
    "runs.evaluate": ("evaluate",),
    "runs.map_branch.export": ("MapExport", "export_with_map"),
    "runs.pair": ("explain_pair",),
    "runs.sanity.sanity": ("sanity",),
    "runs.verify.verify": ("Verification", "verify"),
    "scoring.progress": ("Progress",),
    "trust.checking": ("check",),
    "trust.verdict": ("Trust",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"scorecam.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'scorecam' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
