"""Results as plain values: the items that `--json` prints and that are saved as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorecam.errors import ScorecamError

if TYPE_CHECKING:
    from scorecam.explanation.explanation import Explanation

SCHEMA = 1
Item = dict[str, Any]


def json_document(items: Sequence[Item], encoding: str = "utf-8") -> str:
    """Items as the one JSON document that `--json` prints.

    Args:
        items: plain values.
        encoding: of the stream that it is written to; characters that it lacks are escaped.
    """
    text = json.dumps({"schema": SCHEMA, "items": list(items)}, ensure_ascii=False, indent=2)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps({"schema": SCHEMA, "items": list(items)}, indent=2)
    return text


def path_text(path: str | os.PathLike[str]) -> str:
    """A path as text; bytes of a file name that are not Unicode become question marks."""
    return os.fsencode(path).decode("utf-8", "replace")


def explanation_item(explanation: Explanation, image: str, overlay: Path, bank: Path) -> Item:
    """The item of an explanation and its files."""
    target, provenance = explanation.target, explanation.provenance
    activations = explanation.bank.activations.flatten(1)
    flat = int((activations.amax(dim=1) == activations.amin(dim=1)).sum())
    return {
        "image": path_text(image),
        "model": provenance.model,
        "layer": explanation.layer,
        "variant": explanation.variant.name,
        "formula": explanation.formula,
        "head": explanation.bank.head,
        "target": {
            "index": target.index,
            "name": target.name,
            "probability": target.probability,
        },
        "score": target.score,
        **_of_task(explanation),
        "budget": provenance.budget,
        "precision": provenance.precision,
        "runtime": provenance.runtime,
        "device": provenance.device,
        "forward_passes": provenance.forward_passes,
        "channels": {
            "total": len(activations),
            "flat": flat,
            "asked": len(explanation.bank.asked),
        },
        "seconds": round(provenance.seconds, 3),
        "error": explanation.error,
        "health": [dataclasses.asdict(note) for note in explanation.health],
        "files": {"overlay": path_text(overlay), "bank": path_text(bank)},
    }


def _of_task(explanation: Explanation) -> Item:
    """What an item of a task has besides: its name, and the unit, text and box it may have."""
    task, target = explanation.provenance.task, explanation.target
    item: Item = {"task": task} if task else {}
    item |= {"unit": target.unit} if target.unit else {}
    item |= {"value": target.text} if target.text else {}
    boxes, index = explanation.bank.boxes, explanation.target.index
    if boxes is None or not boxes[index].isfinite().all():
        return item
    box = boxes[index].tolist()
    photo, preprocess = explanation.photo, explanation.preprocess
    placement = None if photo is None or preprocess is None else preprocess.placement(photo.size)
    if placement is not None:
        box = placement.box_to_photo(box)
    return item | {"box": [round(number, 2) for number in box]}


def failure_item(error: ScorecamError, image: str, model: str) -> Item:
    """The item of a photo that could not be processed."""
    return {
        "image": path_text(image),
        "model": model,
        "failure": {"kind": type(error).__name__, "message": str(error)},
    }


def value_text(item: Item) -> str:
    """The value of the target of an item, as in pictures."""
    from scorecam.model.target import Target

    target = item["target"]
    return Target(
        target["index"],
        target["name"],
        score=item["score"],
        probability=target["probability"],
        unit=item.get("unit", ""),
        text=item.get("value", ""),
    ).value


def class_name(item: Item) -> str:
    """The class that an item explains, by name if it has one."""
    return item["target"]["name"] or f"class {item['target']['index']}"
