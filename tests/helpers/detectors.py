"""Detectors with a known answer, in the form of output of every library.

The network `Spots` finds bright cells of 8 × 8 pixels. The box of a cell depends on that cell only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CELL = 8
"""The side of a cell in pixels."""

COLOURS = ("red", "green", "blue")


def cell_boxes(height: int, width: int) -> Tensor:
    """The box of every cell of a picture, `m 4`."""
    rows, columns = torch.meshgrid(
        torch.arange(height // CELL), torch.arange(width // CELL), indexing="ij"
    )
    corner = torch.stack([columns, rows], dim=-1).flatten(0, 1).float() * CELL
    return torch.cat([corner, corner + CELL], dim=-1)


def picture(spots: dict[tuple[int, int], tuple[int, float]], size: tuple[int, int]) -> Tensor:
    """A black picture with bright cells, `3 h w`.

    Args:
        spots: for a cell (row, column), its colour and brightness.
        size: (height, width).
    """
    image = torch.zeros(3, *size)
    for (row, column), (colour, brightness) in spots.items():
        place = slice(row * CELL, (row + 1) * CELL), slice(column * CELL, (column + 1) * CELL)
        image[colour, place[0], place[1]] = brightness
    return image


class Spots(nn.Module):
    """A box per cell; the probability of class t is the mean of colour t in the cell.

    The layer `maps` has a channel for each quadrant of the picture and each colour, so that
    spots in different quadrants have their own masks.

    Args:
        form: from the boxes, `m 4`, the probabilities, `b m 3`, and the (height, width) to the
            output.
    """

    def __init__(self, form: Callable[[Tensor, Tensor, tuple[int, int]], Any]) -> None:
        super().__init__()
        self.form = form
        self.stem = nn.Conv2d(3, 12, CELL, stride=CELL, bias=False)
        self.maps = Quadrants()
        self.head = nn.Conv2d(12, 3, 1, bias=False)
        with torch.no_grad():
            self.stem.weight.zero_()
            self.head.weight.zero_()
            for channel in range(12):
                self.stem.weight[channel, channel % 3] = 1 / CELL**2
                self.head.weight[channel % 3, channel] = 1

    def forward(self, images: Tensor) -> Any:
        height, width = images.shape[2:]
        found = self.head(self.maps(self.stem(images))).flatten(2).mT.clamp(0, 1)
        return self.form(cell_boxes(height, width), found, (height, width))


class Quadrants(nn.Module):
    """Three channels for each quadrant of the picture, zero elsewhere."""

    def forward(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[2:]
        low = (torch.arange(height) >= height // 2)[:, None].expand(height, width)
        right = (torch.arange(width) >= width // 2).expand(height, width)
        inside = torch.stack([~low & ~right, ~low & right, low & ~right, low & right])
        return functional.relu(maps * inside.repeat_interleave(3, dim=0))


# ── forms of output ──────────────────────────────────────────────────────────────────────────────


def centres(boxes: Tensor) -> Tensor:
    """Boxes as centre, width and height."""
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], -1)


def batched(boxes: Tensor, found: Tensor) -> Tensor:
    """The same boxes for every image of the batch."""
    return boxes.expand(len(found), *boxes.shape)


def yolo(boxes: Tensor, found: Tensor, size: tuple[int, int]) -> Tensor:
    return torch.cat([batched(centres(boxes), found), found], -1).mT


def yolo_of_torch(boxes: Tensor, found: Tensor, size: tuple[int, int]) -> Any:
    """ultralytics in evaluation mode: the boxes, and what the head computed them from."""
    return yolo(boxes, found, size), {"boxes": found, "feats": [found[..., None]]}


def yolo_segmenter(boxes: Tensor, found: Tensor, size: tuple[int, int]) -> Any:
    """Each box has 32 coefficients of prototypes of masks."""
    coefficients = torch.linspace(-1, 1, 32).expand(*found.shape[:2], 32)
    rows = torch.cat([batched(centres(boxes), found), found, coefficients], -1)
    return rows.mT, torch.zeros(len(found), 32, size[0] // 4, size[1] // 4)


def yolo_pose(boxes: Tensor, found: Tensor, size: tuple[int, int]) -> Tensor:
    """Each box has key points in pixels, with a confidence each."""
    points = torch.cat([batched(boxes[:, :2] + 3, found), found[..., :1]], -1)
    return torch.cat([batched(centres(boxes), found), found, points + 2], -1).mT


def yolo_v5(boxes: Tensor, found: Tensor, size: tuple[int, int]) -> Tensor:
    """The probability is the product of the objectness and the class's own."""
    objectness = found.sqrt().amax(-1, keepdim=True)
    return torch.cat(
        [batched(centres(boxes), found), objectness, found / objectness.clamp(min=1e-6)], -1
    )


def end_to_end(boxes: Tensor, found: Tensor, size: tuple[int, int]) -> Tensor:
    """The 10 most probable boxes, as after non-maximum suppression."""
    scores, rows = found.flatten(1).topk(10)
    return torch.cat([boxes[rows // 3], scores[..., None], (rows % 3)[..., None]], -1)


def detr(boxes: Tensor, found: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    height, width = size
    rest = (1 - found.sum(-1, keepdim=True)).clamp(min=1e-6)
    logits = torch.cat([found.clamp(min=1e-6), rest], -1).log() + 3
    scale = torch.tensor([width, height, width, height])
    return {"logits": logits, "pred_boxes": batched(centres(boxes) / scale, found)}


def rt_detr(boxes: Tensor, found: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    return {**detr(boxes, found, size), "logits": found.clamp(1e-6, 1 - 1e-6).logit()}


def lists(boxes: Tensor, found: Tensor, size: tuple[int, int]) -> list[dict[str, Tensor]]:
    """Above 0.05 only, as torchvision does: the number of boxes differs from image to image."""
    images: list[dict[str, Tensor]] = []
    for image in found:
        rows, labels = (image > 0.05).nonzero().unbind(1)
        images.append({"boxes": boxes[rows], "labels": labels, "scores": image[rows, labels]})
    return images


def pair(boxes: Tensor, found: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    return batched(boxes, found), found


def ssd(boxes: Tensor, found: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """Parts of the picture; a softmax over the classes, with the background first."""
    height, width = size
    scale = torch.tensor([width, height, width, height])
    rest = 1 - found.sum(-1, keepdim=True)
    return {"scores": torch.cat([rest, found], -1), "boxes": batched(boxes / scale, found)}


def tensorflow(boxes: Tensor, found: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """y1 x1 y2 x2 in parts of the picture, with a number of boxes that count."""
    rows = end_to_end(boxes, found, size)
    height, width = size
    return {
        "detection_boxes": rows[..., [1, 0, 3, 2]] / torch.tensor([height, width, height, width]),
        "detection_classes": rows[..., 5],
        "detection_scores": rows[..., 4],
        "num_detections": torch.full((len(found),), 10.0),
    }


def mmdet(boxes: Tensor, found: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    rows = end_to_end(boxes, found, size)
    return {"dets": rows[..., :5], "labels": rows[..., 5].long()}


def picodet(boxes: Tensor, found: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """Three levels, of which only the finest finds anything. Each side is half a stride away."""
    scores = [found]
    for stride in (16, 32):
        cells = -(-size[0] // stride) * -(-size[1] // stride)
        scores.append(torch.zeros(len(found), cells, 3))
    sides = torch.full((8,), -50.0)
    sides[:2] = 0
    output = {f"score {level}": each for level, each in enumerate(scores)}
    for level, each in enumerate(scores):
        output[f"sides {level}"] = sides.repeat(4).expand(*each.shape[:2], 32)
    return output


FORMS: dict[str, Callable[[Tensor, Tensor, tuple[int, int]], Any]] = {
    form.__name__: form
    for form in (
        *(yolo, yolo_of_torch, yolo_segmenter, yolo_pose, yolo_v5, end_to_end, detr, rt_detr),
        *(lists, pair, ssd, tensorflow, mmdet, picodet),
    )
}
"""Every form of output."""

DECODED = {
    **dict.fromkeys(("yolo", "yolo_of_torch", "yolo_segmenter", "yolo_pose"), "yolo"),
    "yolo_v5": "yolov5",
    "end_to_end": "end-to-end",
    "detr": "detr",
    "rt_detr": "rt-detr",
    "lists": "torchvision",
    "pair": "boxes",
    "ssd": "boxes",
    "tensorflow": "nms",
    "mmdet": "nms",
    "picodet": "picodet",
}
"""The decoder of each form."""
