"""What a page shows of one photo: small enough to be kept for every photo of a run.

gallery/<2 hex>/<id>.json
id, name        as in the records
jpeg            what the model saw, at most 112 pixels long, base64
grid            u, v: the axes of every map
views           the variants whose maps there are; none where no method asked about masks
classes         at most 5: the label, the prediction and the target, then the largest:
index, name, probability, roles, and for each view u × v bytes in base64,
row by row, 255 where the map is largest
contrast        of a wrong prediction: what speaks for it rather than for the label
health, error   of the target's map
things          all annotated objects, boxes in units of the input, or null
"""

from __future__ import annotations

import base64
import io
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from scorecam.bank import health
from scorecam.bank.bank import ScoreBank
from scorecam.base.wording import shown
from scorecam.cam import find_variant
from scorecam.page import grid8
from scorecam.runs.config import SCHEMA
from scorecam.runs.store import Record
from scorecam.runs.subject import Setup, Subject, column
from scorecam.shapes import Columns

VIEWS = ("official", "algorithm1", "increase", "consensus")
CLASSES = 5
LONG = 112
"""Pixels of a thumbnail along its longer side."""


def entry(subject: Subject, setup: Setup, bank: ScoreBank | None) -> Record:
    """What a page shows of a photo, as plain values.

    Args:
        bank: the answers, where a method asked for them; without them there are no maps.
    """
    found: Record = {
        "schema": SCHEMA,
        "id": subject.sample.id,
        "name": shown(subject.sample.name),
        "jpeg": _thumbnail(subject, setup),
        "grid": None if bank is None else list(bank.activations.shape[1:]),
        "views": [] if bank is None else list(VIEWS),
        "classes": [
            _class(subject, bank, index) for index in _shown(subject, subject.scorer.columns)
        ],
        "contrast": None,
        "health": [],
        "error": None,
        "things": _things(subject, setup),
    }
    if bank is None or setup.asking is None:
        return found
    if subject.labelled is not None and subject.labelled != subject.predicted:
        pair = {"for": subject.predicted, "over": subject.labelled}
        grid = bank.contrast(pair["for"], pair["over"], size=bank.activations.shape[1:])
        found["contrast"] = pair | {"map": _packed(grid)}
    variant = setup.asking.settings["variant"]
    own = health.notes(
        bank,
        bank.target(subject.target),
        find_variant(str(variant)),
        bank.heatmap(subject.target, str(variant)),
    )
    found["health"] = [asdict(note) for note in own]
    found["error"] = bank.error(subject.target, str(variant))
    return found


def _shown(subject: Subject, columns: Columns) -> list[int]:
    """The classes that are shown, those of interest first."""
    largest = columns.topk(min(CLASSES, len(columns))).indices.tolist()
    first = [subject.labelled, subject.predicted, subject.target]
    return list(dict.fromkeys(i for i in [*first, *largest] if i is not None))[:CLASSES]


def _class(subject: Subject, bank: ScoreBank | None, index: int) -> dict[str, Any]:
    roles = {
        "label": subject.labelled,
        "predicted": subject.predicted,
        "target": subject.target,
    }
    maps: list[str] = []
    if bank is not None:
        grid = bank.activations.shape[1:]
        maps = [_packed(bank.heatmap(index, view, size=grid)) for view in VIEWS]
    return column(subject, index) | {
        "roles": [role for role, own in roles.items() if own == index],
        "maps": maps,
    }


def _packed(grid: Tensor) -> str:
    """A map's bytes in base64."""
    return base64.b64encode(grid8(grid.cpu()).tobytes()).decode("ascii")


def _thumbnail(subject: Subject, setup: Setup) -> str | None:
    """What the model saw, as a small JPEG."""
    if setup.model.preprocess is None:
        return None
    picture = setup.model.preprocess.unnormalise(subject.image)
    picture.thumbnail((LONG, LONG))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=70, optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _things(subject: Subject, setup: Setup) -> list[dict[str, Any]] | None:
    """Every annotated object of which something is in the input."""
    things, preprocess = subject.sample.things, setup.model.preprocess
    if things is None or preprocess is None:
        return None
    if not things:
        return []
    boxes = preprocess.boxes_to_input(torch.tensor([thing.box for thing in things]), subject.size)
    height, width = subject.image.shape[1:]
    units = (boxes / torch.tensor([width, height, width, height])).clamp(0, 1)
    return [
        {"label": shown(str(thing.label)), "box": [round(edge, 4) for edge in box]}
        for thing, box in zip(things, units.tolist(), strict=True)
        if box[2] > box[0] and box[3] > box[1]
    ]
