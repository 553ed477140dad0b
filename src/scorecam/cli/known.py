"""The values that options accept, by name, for help texts.

The lists themselves are in modules that import torch, and `--help` must not wait for that. A test
compares these names with those lists.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

BUNDLED_MODELS: Final = ("lite0", "lite1", "lite2")
HEADS: Final = ("auto", "logits", "probabilities", "sigmoid", "value")
METRIC_PRESETS: Final = ("paper", "quick", "localisation", "all")
TASKS: Final = ("detect", "segment", "similar", "regress", "multilabel", "tokens")
RANDOMISATIONS: Final = ("cascading", "independent")
MASKED_PIXELS: Final = ("run", "black")
SETTING_WORDS: Final = {
    "variant": ("auto", "official", "algorithm1", "increase", "centred", "literal", "consensus"),
}
"""By setting; `scorecam.settings` lists the settings."""


def any_of(names: Iterable[str]) -> str:
    """The names in a sentence: `a, b or c`."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
