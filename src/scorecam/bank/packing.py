"""A score bank as the tensors and the record of its file, and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scorecam.bank import storage
from scorecam.bank.parts import check_lengths, check_values
from scorecam.bank.record import Record
from scorecam.bank.storage import Tensors


@dataclass(frozen=True)
class Parts:
    """Everything in a bank.

    Args:
        tensors: by name, as in `TYPES`; those in `OPTIONAL` may be None.
        record: everything else but the names and the view.
        names, view: as in `ScoreBank`.
    """

    tensors: Mapping[str, Tensor | None]
    record: Record
    names: tuple[str, ...] | None
    view: bytes | None

    def check(self, *, flat_allowed: bool) -> None:
        """Refuse values that no bank has; see `check_values`.

        Raises:
            ValueError: there is such a value.
        """
        rest = self.record.head == "logits"
        check_values(self.tensors, self.record.size, rest=rest, flat_allowed=flat_allowed)

    def fields(self) -> dict[str, Any]:
        """The arguments of `ScoreBank`."""
        record = {
            field.name: getattr(self.record, field.name)
            for field in dataclasses.fields(self.record)
        }
        return {**self.tensors, **record, "names": self.names, "view": self.view}

    def tensor(self, name: str) -> Tensor:
        """A tensor that every bank has."""
        tensor = self.tensors[name]
        assert tensor is not None  # noqa: S101  (only those in `OPTIONAL` may be None)
        return tensor


def pack(parts: Parts) -> tuple[dict[str, Any], Tensors]:
    """The record and the tensors of a bank's file.

    Raises:
        ValueError, TypeError: the file could not be read again.
    """
    activations, scores = parts.tensor("activations"), parts.tensor("scores")
    live = parts.tensor("live")
    logits = parts.record.head == "logits" and scores.shape[1] > 1
    tensors = {
        **storage.pack_maps(activations, live),
        **storage.pack_scores("scores", scores, logits=logits),
        "live": storage.pack_channels(live, len(activations)),
        "asked": storage.pack_channels(parts.tensor("asked"), len(activations)),
        "image_scores": parts.tensor("image_scores").cpu().contiguous(),
        "fill_scores": parts.tensor("fill_scores").cpu().contiguous(),
        "names": storage.pack_text(parts.names),
    }
    columns = parts.tensors["columns"]
    if columns is not None:
        tensors["columns"] = columns.cpu().to(torch.int32)
    if (boxes := parts.tensors["boxes"]) is not None:
        tensors["boxes"] = boxes.cpu().contiguous()
    if (masks := parts.tensors["masks"]) is not None:
        tensors["masks"] = storage.pack_bits(masks)
    if parts.view is not None:
        tensors["view"] = torch.frombuffer(bytearray(parts.view), dtype=torch.uint8)
    record = parts.record.to_dict()
    # Earlier versions could round maps until they were flat. A bank read from such a file keeps
    # them.
    rounded = bool(len(storage.flat(activations[live])))
    if rounded:
        record["rounded"] = True
    check_lengths(len(activations), len(parts.tensor("image_scores")))
    Record.from_dict(json.loads(json.dumps(record)))
    parts.check(flat_allowed=rounded)
    return record, tensors


def unpack(entries: Any, tensors: Tensors) -> Parts:
    """The parts of a bank in a file's record and tensors. Their values are not checked yet.

    Raises:
        KeyError, ValueError: they are not those of a bank.
    """
    record = Record.from_dict(entries)
    size = sum(tensor.nbytes for tensor in tensors.values())
    longest = storage.LONGEST_NAMES + 4 * size
    image_scores, view = tensors["image_scores"], tensors.get("view")
    check_lengths(1, image_scores.numel())
    names = storage.unpack_text(tensors["names"], image_scores.numel(), longest)
    activations = storage.unpack_maps(tensors)
    columns = tensors.get("columns")
    return Parts(
        tensors={
            "activations": activations,
            "live": storage.unpack_channels(tensors["live"], len(activations)),
            "asked": storage.unpack_channels(tensors["asked"], len(activations)),
            "scores": storage.unpack_scores("scores", tensors),
            "image_scores": image_scores,
            "fill_scores": tensors["fill_scores"],
            "columns": None if columns is None else columns.long(),
            "boxes": tensors.get("boxes"),
            "masks": storage.unpack_bits(tensors["masks"], (len(image_scores), *record.size))
            if "masks" in tensors
            else None,
        },
        record=record,
        names=None if names is None else tuple(names),
        view=None if view is None else view.numpy().tobytes(),
    )
