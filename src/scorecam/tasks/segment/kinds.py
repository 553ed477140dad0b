"""The kind of the numbers in class maps: as for scores of classes (see model/head.py).

The pixels of one image are as many rows of scores. So fewer passes settle the question.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from scorecam.model.head import STRONGER, adds_up, check_declared, in_range, saturates
from scorecam.model.model import Model
from scorecam.shapes import Images
from scorecam.tasks.segment.class_maps import Kind, PixelMaps

ROWS = 4096
"""The most pixels that are looked at."""

Rows = Annotated[Tensor, "p n"]


def find_kind(
    model: Model, images: Images, output: Any, maps: PixelMaps, declared: Kind | Literal["auto"]
) -> tuple[PixelMaps, str, int]:
    """The maps with the kind of their numbers, a remark, and the number of passes.

    Args:
        images: `1 c *i`.
        output: for these images.
        declared: by the user.

    Raises:
        SettingError: the declared kind is impossible.
    """
    rows = _rows(maps, output)
    unbounded: Kind = "sigmoid" if rows.shape[1] == 1 else "logits"
    if declared != "auto":
        check_declared(declared, rows)
        return replace(maps, kind=unbounded if declared == "logits" else declared), "", 0
    if not in_range(rows):
        return replace(maps, kind=unbounded), "", 0
    found = replace(maps, kind="probabilities")
    if adds_up(rows):
        return found, "", 0
    strong = [_rows(maps, model.output(images * factor)) for factor in (STRONGER, -STRONGER)]
    everything = torch.cat(strong)
    everything = everything[everything.isfinite().all(1)]
    if not in_range(torch.cat([rows, everything])):
        return replace(maps, kind=unbounded), "", len(strong)
    sure = saturates(rows, everything)
    return found, "" if sure else _remark(rows.shape[1]), len(strong)


def _rows(maps: PixelMaps, output: Any) -> Rows:
    """The numbers of some pixels of the first image, spread over it."""
    return some_rows(maps.numbers(output)[0])


def some_rows(maps: Tensor) -> Rows:
    """The numbers of some pixels of `n *g`, spread over the grid, as rows of scores."""
    flat = maps.flatten(1)
    return flat[:, :: max(1, flat.shape[1] // ROWS)].T.float()


def _remark(classes: int) -> str:
    several = "" if classes == 1 else " of classes that exclude no other"
    return (
        f"All numbers of the output are between 0 and 1: they were taken as probabilities{several}."
        " If they are logits, say so with Segment(head=...) (--head)."
    )
