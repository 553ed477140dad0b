"""Weights in several files: Hugging Face's shards with their index, and folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from scorecam.base.wording import excerpt
from scorecam.errors import WeightsError
from scorecam.io.reading import Kind, read_json

INDEX = Kind("an index of shards, as save_pretrained writes it", 2**26, WeightsError)

MOST_SHARDS = 10_000


def shards_of(index: Path) -> list[Path]:
    """The files that an index lists; all are in its own folder.

    Raises:
        WeightsError: it is no such index, or lists a file elsewhere.
    """
    content = read_json(index, INDEX)
    listed = cast("Mapping[str, Any]", content).get("weight_map") if _is_mapping(content) else None
    names = set(cast("Mapping[str, Any]", listed).values()) if _is_plain(listed) else set()
    inside = all(name == Path(name).name and not name.endswith(".json") for name in names)
    if not names or not inside or len(names) > MOST_SHARDS:
        raise WeightsError(
            f"{excerpt(index, 200)} is not an index of shards in its own folder.",
            do='Give an index whose "weight_map" has the names of files in its folder, or one '
            "file with all weights.",
        )
    return [index.parent / name for name in sorted(names)]


def check_whole(file: Path) -> None:
    """Refuse one shard of several.

    Raises:
        WeightsError: it is one.
    """
    found = re.search(r"-(\d{5})-of-(\d{5})\.[a-z]+$", file.name)
    if found and int(found[2]) > 1:
        raise WeightsError(
            f"{excerpt(file, 200)} holds only a part of the weights: file {int(found[1])} of "
            f"{int(found[2])}.",
            do="Give the index in the same folder, *.index.json.",
        )


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_plain(value: object) -> bool:
    """Whether it maps names to names."""
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and name for name in cast("Mapping[Any, Any]", value).values()
    )


def advice_for_folder(folder: Path) -> str:
    """What to do with a folder that was given in place of a weights file."""
    names = {path.name for path in folder.iterdir()}
    for name in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if name in names:
            return f"Give the index in it: {name}."
    for name in ("model.safetensors", "pytorch_model.bin"):
        if name in names:
            return f"Give the file in it: {name}."
    if "zero_to_fp32.py" in names or "latest" in names:
        return (
            "It is a checkpoint of DeepSpeed. Make one file of it: "
            "python zero_to_fp32.py . pytorch_model.bin"
        )
    if ".metadata" in names:
        return (
            "It is a checkpoint of torch.distributed. Make one file of it: python -m "
            "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pth"
        )
    return "Check the path."
