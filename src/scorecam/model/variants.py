"""The variant that "auto" means."""

from __future__ import annotations

from typing import Literal

from scorecam.cam import VARIANTS, Head, Variant, find_variant
from scorecam.model.task_columns import TaskColumns
from scorecam.shapes import Activations

Auto = Literal["auto"]
"""The variant that suits the scores and the activations (see `suited`)."""


def suited(head: Head, activations: Activations, columns: TaskColumns | None = None) -> Variant:
    """The variant that "auto" means.

    `centred` if a task asks for something else than a class, if the scores are values, or if the
    activations have negative numbers; `official` otherwise. Weights of one sign add the plain sum
    of the activations to the map. If they are signed, that sum does not show what is active. If
    values are negative, `official` gives an empty map. A single channel has no differences to show,
    so it is always `official`.

    Args:
        activations: `k *g` float32, live channels only (see `cam.live`).
        columns: the columns that a task found; None without a task.
    """
    differs = columns is not None or head == "value" or bool((activations < 0).any())
    centred = len(activations) > 1 and differs
    return VARIANTS["centred" if centred else "official"]


def resolved(variant: str | Variant, auto: Variant) -> Variant:
    """The variant with this name, the variant itself, or `auto` for "auto".

    Raises:
        SettingError: there is no such variant.
    """
    return auto if is_auto(variant) else find_variant(variant)


def check_variant(variant: str | Variant) -> Variant | Auto:
    """The variant with this name, the variant itself, or "auto".

    Raises:
        SettingError: there is no such variant.
    """
    return "auto" if is_auto(variant) else find_variant(variant)


def is_auto(variant: str | Variant) -> bool:
    """Whether this is the word "auto"."""
    return isinstance(variant, str) and variant == "auto"


def name_of(variant: Variant | Auto) -> str:
    """The variant's name."""
    return variant if isinstance(variant, str) else variant.name
