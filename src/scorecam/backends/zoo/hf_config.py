"""The configuration of a Hugging Face folder, without what would run code or use the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from scorecam.base.wording import excerpt, quoted
from scorecam.errors import ModelError, SettingError
from scorecam.io.reading import Kind, read_json
from scorecam.model.labels import check_names, read_labels

CONFIG = Kind("a config.json that transformers wrote", 2**24, ModelError)

DROPPED = ("auto_map", "quantization_config", "fusion_config", "use_pretrained_backbone")
"""Keys that may name code or weights elsewhere. Kernels, whose keys end in `_implementation`, are
code too."""


def read_config(folder: Path) -> dict[str, Any]:
    """The values in config.json.

    Raises:
        ModelError: it cannot be read, is for another library, or names another model on the hub.
    """
    values = read_json(folder / "config.json", CONFIG)
    if not isinstance(values, dict):
        raise ModelError(
            f"{excerpt(folder / 'config.json', 200)} is not an object.", do=f"Give {CONFIG.name}."
        )
    config = cast("dict[str, Any]", values)
    if "model_type" not in config and isinstance(config.get("architecture"), str):
        raise ModelError(
            f"The folder {excerpt(folder, 200)} is in timm's format.",
            do=f"Use timm:{excerpt(config['architecture'], 60)} with weights= (--weights) for its "
            "model.safetensors.",
        )
    return _clean(config)


def _clean(values: Any) -> Any:
    """The values without keys that could run code.

    Raises:
        ModelError: a backbone comes from the hub.
    """
    if isinstance(values, list):
        return [_clean(value) for value in cast("list[Any]", values)]
    if not isinstance(values, dict):
        return values
    kept: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", values).items():
        if key in DROPPED or key.endswith("_implementation") or key.startswith("_"):
            continue
        if isinstance(value, str) and (
            key == "backbone" or (key == "architecture" and not value.isidentifier())
        ):
            raise ModelError(
                f"The configuration takes its {key} {quoted(value)} from elsewhere.",
                likely="It was written for a version that downloads it.",
                do="Build the network yourself, and use package.module:factory.",
            )
        kept[key] = _clean(value)
    return kept


def id2label(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The class names; None without names of their own.

    Raises:
        ModelError: they are damaged.
    """
    labels = config.get("id2label")
    if not isinstance(labels, dict) or not labels:
        return None
    try:
        names = read_labels(cast("dict[int, str]", labels))
        check_names(names)
    except (SettingError, ValueError) as error:
        raise ModelError(
            f"The class names in config.json cannot be read: {excerpt(error, 200)}",
            do="Correct its id2label, a dict from index to name.",
        ) from error
    placeholders = tuple(f"LABEL_{index}" for index in range(len(names)))
    return None if names == placeholders else names
