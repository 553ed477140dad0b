"""The gallery of a run: what a page shows of a photo, small enough to be kept for every photo.

An entry is a JSON object:

    id, name        as in the records
    jpeg            the model's input as a thumbnail, at most 112 pixels along each side, base64
    grid            u, v: the axes of every map
    views           the variants of the maps; empty if no Score-CAM method ran
    classes         at most 5: the label, the prediction and the target, then the top scores:
                    index, name, probability, roles, and per view u × v bytes in base64,
                    row by row, 255 at the maximum of the map
    contrast        for a wrong prediction: the evidence for it against the label
    health, error   of the target's map
    things          all annotated objects, their boxes as fractions of the input; or null
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from scorecam.bank import health
from scorecam.bank.bank import ScoreBank
from scorecam.base.wording import encodable
from scorecam.cam import VARIANTS
from scorecam.io.json_values import is_text
from scorecam.page import decodable, grid8
from scorecam.runs.config import SCHEMA
from scorecam.runs.layout import Layout
from scorecam.runs.photo import PreparedPhoto
from scorecam.runs.record import Unreadable, read_object
from scorecam.runs.setup import Setup
from scorecam.runs.store import ENTRY

VIEWS = tuple(variant.name for variant in VARIANTS.values() if variant.on_pages)
"""The variants whose maps are kept."""

CLASSES = 5
THUMBNAIL_SIDE = 112
"""Pixels of a thumbnail along its longer side."""

_LONGEST_JPEG = 2**20
"""The most characters of a thumbnail in base64."""


def entry(photo: PreparedPhoto, setup: Setup, bank: ScoreBank | None) -> dict[str, Any]:
    """The gallery entry of a photo, as JSON values.

    Args:
        bank: the scores of a Score-CAM method; without it there are no maps.
    """
    values = {
        "schema": SCHEMA,
        "id": photo.sample.id,
        "name": encodable(photo.sample.name),
        "jpeg": _thumbnail(photo, setup),
        "grid": None if bank is None else list(bank.activations.shape[1:]),
        "views": [] if bank is None else list(VIEWS),
        "classes": [_class(photo, bank, index) for index in _classes(photo)],
        "contrast": None,
        "health": [],
        "error": None,
        "things": _objects(photo, setup),
    }
    if bank is None or setup.bank_method is None or setup.bank_method.variant is None:
        return values
    variant = bank.variant(setup.bank_method.variant)
    heatmap = bank.heatmap(photo.target, variant)
    notes = health.notes(bank, bank.target(photo.target), variant, heatmap)
    return values | {
        "contrast": _contrast(photo, bank),
        "health": [asdict(note) for note in notes],
        "error": bank.error(photo.target, variant),
    }


def _classes(photo: PreparedPhoto) -> list[int]:
    """The columns of an entry: the label, the prediction and the target first."""
    columns = photo.scorer.columns
    largest = columns.topk(min(CLASSES, len(columns))).indices.tolist()
    first = [photo.answer.labelled, photo.answer.predicted, photo.target]
    return list(dict.fromkeys(i for i in [*first, *largest] if i is not None))[:CLASSES]


def _class(photo: PreparedPhoto, bank: ScoreBank | None, index: int) -> dict[str, Any]:
    roles = {
        "label": photo.answer.labelled,
        "predicted": photo.answer.predicted,
        "target": photo.target,
    }
    maps: list[str] = []
    if bank is not None:
        grid = bank.activations.shape[1:]
        maps = [_packed(bank.heatmap(index, view, size=grid)) for view in VIEWS]
    return asdict(photo.class_score(index)) | {
        "roles": [role for role, column in roles.items() if column == index],
        "maps": maps,
    }


def _contrast(photo: PreparedPhoto, bank: ScoreBank) -> dict[str, Any] | None:
    """The evidence for a wrong prediction against the label."""
    predicted, labelled = photo.answer.predicted, photo.answer.labelled
    if labelled is None or labelled == predicted:
        return None
    grid = bank.contrast(predicted, labelled, size=bank.activations.shape[1:])
    return {"for": predicted, "over": labelled, "map": _packed(grid)}


def _packed(grid: Tensor) -> str:
    """The bytes of a map in base64."""
    return base64.b64encode(grid8(grid.cpu()).tobytes()).decode("ascii")


def _thumbnail(photo: PreparedPhoto, setup: Setup) -> str | None:
    """The model's input as a small JPEG."""
    if setup.model.preprocess is None:
        return None
    picture = setup.model.preprocess.unnormalise(photo.image)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=70, optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _objects(photo: PreparedPhoto, setup: Setup) -> list[dict[str, Any]] | None:
    """The annotated objects that are at least partly in the input."""
    things, preprocess = photo.sample.things, setup.model.preprocess
    if things is None or preprocess is None or photo.size is None:
        return None
    if preprocess.placement(photo.size) is None:
        return None
    if not things:
        return []
    boxes = preprocess.boxes_to_input(torch.tensor([thing.box for thing in things]), photo.size)
    height, width = photo.image.shape[1:]
    fractions = (boxes / torch.tensor([width, height, width, height])).clamp(0, 1)
    return [
        {"label": encodable(str(thing.label)), "box": [round(edge, 4) for edge in box]}
        for thing, box in zip(things, fractions.tolist(), strict=True)
        if box[2] > box[0] and box[3] > box[1]
    ]


def read_thumbnail(layouts: Sequence[Layout], sample: str) -> bytes | None:
    """The thumbnail of a photo from the first run that has a readable one."""
    for layout in layouts:
        try:
            jpeg = read_object(layout.entry(sample), ENTRY, "invalid entry").get("jpeg")
            is_valid = is_text(jpeg, _LONGEST_JPEG)
            picture = decodable(base64.b64decode(jpeg, validate=True)) if is_valid else None
        except (FileNotFoundError, Unreadable, ValueError):  # not kept, or edited
            continue
        if picture is not None:
            return picture
    return None
