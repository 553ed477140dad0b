"""Detectors with a known answer, in the form of output of every library.

The network `Spots` finds bright cells of 8 × 8 pixels. The box of a cell depends on that cell only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Found:
    """What a detector found in a batch.

    Args:
        boxes: `m 4`, the same for every image.
        probabilities: `b m 3`.
        size: (height, width) of the images.
    """

    boxes: Tensor
    probabilities: Tensor
    size: tuple[int, int]

    @property
    def corners(self) -> Tensor:
        """The boxes of each image, `b m 4`."""
        return self.boxes + 0 * self.probabilities[..., :1]  # exports keep any batch

    @property
    def centres(self) -> Tensor:
        """The same as centre, width and height."""
        low, high = self.corners[..., :2], self.corners[..., 2:]
        return torch.cat([(low + high) / 2, high - low], -1)

    @property
    def scale(self) -> Tensor:
        """What pixels are divided by to become parts of the picture."""
        height, width = self.size
        return torch.tensor([width, height, width, height])


Form = Callable[[Found], Any]
"""From what was found to the output of a library's detector."""


class Spots(nn.Module):
    """A box per cell; the probability of class t is the mean of colour t in the cell.

    The layer `maps` has a channel for each quadrant of the picture and each colour, so that
    spots in different quadrants have their own masks.

    Args:
        form: of the output.
    """

    def __init__(self, form: Form) -> None:
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
        found = self.head(self.maps(self.stem(images))).flatten(2).clamp(0, 1).transpose(1, 2)
        return self.form(Found(cell_boxes(height, width), found, (height, width)))


class Quadrants(nn.Module):
    """Three channels for each quadrant of the picture, zero elsewhere."""

    def forward(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[2:]
        low = (torch.arange(height) >= height // 2)[:, None].expand(height, width)
        right = (torch.arange(width) >= width // 2).expand(height, width)
        inside = torch.stack([~low & ~right, ~low & right, low & ~right, low & right])
        return functional.relu(maps * inside.repeat_interleave(3, dim=0))


# ── forms of output ──────────────────────────────────────────────────────────────────────────────


def yolo(found: Found) -> Tensor:
    return torch.cat([found.centres, found.probabilities], -1).transpose(1, 2)


def yolo_of_torch(found: Found) -> Any:
    """ultralytics in evaluation mode: the boxes, and what the head computed them from."""
    scores = found.probabilities
    return yolo(found), {"boxes": scores, "feats": [scores[..., None]]}


def yolo_segmenter(found: Found) -> Any:
    """Each box has 32 coefficients of prototypes of masks, in the second tensor."""
    count, boxes = found.corners.shape[:2]
    coefficients = torch.linspace(-1, 1, 32).expand(count, boxes, 32)
    rows = torch.cat([found.centres, found.probabilities, coefficients], -1)
    height, width = found.size
    return rows.transpose(1, 2), torch.zeros(count, 32, height // 4, width // 4)


def yolo_segmenter_of_torch(found: Found) -> Any:
    """The same in evaluation mode, with what the head computed it from."""
    return yolo_segmenter(found), {"feats": [found.probabilities[..., None]]}


def yolo_pose(found: Found) -> Tensor:
    """Each box has a key point in pixels."""
    point = found.corners[..., :2] + 3
    return torch.cat([found.centres, found.probabilities, point], -1).transpose(1, 2)


def yolo_v5(found: Found) -> Tensor:
    """The probability is the product of the objectness and the class's own."""
    scores = found.probabilities
    objectness = scores.sqrt().amax(-1, keepdim=True)
    return torch.cat([found.centres, objectness, scores / objectness.clamp(min=1e-6)], -1)


def end_to_end(found: Found) -> Tensor:
    """The 10 most probable boxes, as after non-maximum suppression."""
    scores, rows = found.probabilities.flatten(1).topk(10)
    return torch.cat([found.boxes[rows // 3], scores[..., None], (rows % 3)[..., None]], -1)


def detr(found: Found) -> dict[str, Tensor]:
    scores = found.probabilities
    rest = 1 - scores.sum(-1, keepdim=True)
    logits = torch.cat([scores, rest], -1).clamp(min=1e-6).log() + 3
    return {"logits": logits, "pred_boxes": found.centres / found.scale}


def rt_detr(found: Found) -> dict[str, Tensor]:
    scores = found.probabilities.clamp(1e-6, 1 - 1e-6)
    return {**detr(found), "logits": scores.log() - (1 - scores).log()}


def lists(found: Found) -> list[dict[str, Tensor]]:
    """Above 0.05 only, as torchvision does: the number of boxes differs from image to image."""
    images: list[dict[str, Tensor]] = []
    for image in found.probabilities:
        rows, labels = (image > 0.05).nonzero().unbind(1)
        images.append({"boxes": found.boxes[rows], "labels": labels, "scores": image[rows, labels]})
    return images


def pair(found: Found) -> tuple[Tensor, Tensor]:
    return found.corners, found.probabilities


def ssd(found: Found) -> dict[str, Tensor]:
    """Parts of the picture; a softmax over the classes, with the background first."""
    rest = 1 - found.probabilities.sum(-1, keepdim=True)
    scores = torch.cat([rest, found.probabilities], -1)
    return {"scores": scores, "boxes": found.corners / found.scale}


def tensorflow(found: Found) -> dict[str, Tensor]:
    """y1 x1 y2 x2 in parts of the picture, with a number of boxes that count."""
    rows = end_to_end(found)
    corners = rows[..., :4] / found.scale
    return {
        "detection_boxes": corners[..., [1, 0, 3, 2]],
        "detection_classes": rows[..., 5],
        "detection_scores": rows[..., 4],
        "num_detections": torch.full((len(rows),), 10.0),
    }


def mmdet(found: Found) -> dict[str, Tensor]:
    rows = end_to_end(found)
    return {"dets": rows[..., :5], "labels": rows[..., 5].long()}


def picodet(found: Found) -> dict[str, Tensor]:
    """Three levels, of which only the finest finds anything. Each side is half a stride away."""
    scores = [found.probabilities]
    for stride in (16, 32):
        height, width = (-(-side // stride) for side in found.size)
        scores.append(torch.zeros(len(scores[0]), height * width, 3))
    sides = torch.full((8,), -50.0)
    sides[:2] = 0
    output = {f"score {level}": each for level, each in enumerate(scores)}
    for level, each in enumerate(scores):
        output[f"sides {level}"] = sides.repeat(4).expand(*each.shape[:2], 32)
    return output


FORMS: dict[str, Form] = {
    form.__name__: form
    for form in (
        *(yolo, yolo_of_torch, yolo_segmenter, yolo_segmenter_of_torch, yolo_pose, yolo_v5),
        *(end_to_end, detr, rt_detr),
        *(lists, pair, ssd, tensorflow, mmdet, picodet),
    )
}
"""Every form of output."""

DECODED = {
    **{form: "yolo" for form in FORMS if form.startswith("yolo")},
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
