"""Read, change and write bank files, with a correct checksum or without."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

import scorecam
from scorecam.bank import file as bankfile

LARGE = 2**20
"""Above this number of pixels, only the map is computed."""

Tensors = dict[str, Tensor]
Change = Callable[[dict[str, Any], Tensors], object]


def small_bank(asked: int = 6, head: str = "logits", view: bytes | None = None) -> Any:
    """A bank with five classes and eight channels, the last one flat."""
    generator = torch.Generator().manual_seed(3)
    maps = torch.rand(8, 4, 5, generator=generator)
    maps[7] = 0.25
    return scorecam.ScoreBank(
        activations=maps,
        live=torch.arange(7),
        asked=torch.arange(asked),
        scores=3 * torch.randn(asked, 5, generator=generator),
        image_scores=3 * torch.randn(5, generator=generator),
        fill_scores=torch.randn(5, generator=generator),
        size=(24, 40),
        masking=scorecam.Masking(),
        head=head,  # type: ignore[arg-type]
        names=("a", "b", "c", "d", "e"),
        layer="layer4",
        provenance=scorecam.Provenance("small", "cpu", "float32", 9, 4, 0.5),
        view=view,
    )


def with_places(bank: scorecam.ScoreBank) -> scorecam.ScoreBank:
    """The bank with a box and a region per column; the last column has neither."""
    columns, axes = len(bank.image_scores), len(bank.size)
    generator = torch.Generator().manual_seed(4)
    corners = torch.rand(2, columns, axes, generator=generator) * torch.tensor(bank.size[::-1])
    boxes = torch.cat([corners.amin(0), corners.amax(0)], dim=1)
    masks = torch.rand(columns, *bank.size, generator=generator) > 0.7
    boxes[-1], masks[-1] = math.nan, False
    return dataclasses.replace(bank, boxes=boxes, masks=masks)


def read_parts(path: Path) -> tuple[dict[str, Any], Tensors]:
    """The record and the tensors of a file."""
    with safetensors.safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["scorecam"])
    return record, safetensors.torch.load_file(path)


def write_with_checksum(path: Path, record: dict[str, Any], tensors: Tensors) -> None:
    """Write a file with a correct checksum."""
    record.pop(bankfile.CHECKSUM, None)
    record[bankfile.CHECKSUM] = bankfile.checksum(record, tensors)
    write_as_is(path, record, tensors)


def write_as_is(path: Path, record: dict[str, Any], tensors: Tensors) -> None:
    """Write a file without updating the checksum in the record."""
    safetensors.torch.save_file(tensors, path, {"scorecam": json.dumps(record)})


def change_file(path: Path, change: Change) -> None:
    """Change the content of a file and update its checksum."""
    record, tensors = read_parts(path)
    change(record, tensors)
    write_with_checksum(
        path, record, {name: tensor.contiguous() for name, tensor in tensors.items()}
    )


def write_raw(path: Path, header: bytes, data: bytes = b"") -> None:
    """Write a safetensors file with any header, valid or not."""
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def use_bank(bank: scorecam.ScoreBank, folder: Path) -> None:
    """Call every method of a bank; none may fail."""
    index = bank.target().index if bank.columns is None else int(bank.columns[0])
    if math.prod(bank.size) > LARGE:  # every other method would be slow
        assert tuple(bank.heatmap(index).shape) == bank.size
        return
    explanation = scorecam.Explanation(bank, bank.target(index), scorecam.VARIANTS["official"])
    for variant in scorecam.VARIANTS:
        heatmap = bank.heatmap(index, variant)
        assert tuple(heatmap.shape) == bank.size
        bank.error(index, variant)
        bank.contrast(index, index, variant)
    assert explanation.formula
    assert all(note.sentence for note in explanation.health)
    if bank.columns is None:
        explanation.top(3)
    explanation.overlay()
    bank.keep([index])
    bank.save(folder / "again.safetensors")
    scorecam.ScoreBank.load(folder / "again.safetensors")
