"""A detector with a feature pyramid of two levels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STRIDES = 16, 32


def conv(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1), nn.ReLU())


class Neck(nn.Module):
    """The coarse level, enlarged for the fine one; and back."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = conv(6 + 8, 7)
        self.down = conv(7, 7, 2)
        self.coarse = conv(7 + 8, 9)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(torch.cat([fine, nn.functional.interpolate(coarse, scale_factor=2)], 1))
        return fine, self.coarse(torch.cat([self.down(fine), coarse], 1))


class PyramidDetector(nn.Module):
    """Two levels, each with a branch for boxes and one for classes: `b 4+2 boxes` as in YOLO."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 16, 16), nn.ReLU())
        self.deep = conv(6, 8, 2)
        self.neck = Neck()
        self.boxes = nn.ModuleList([nn.Sequential(conv(n, 5), nn.Conv2d(5, 4, 1)) for n in (7, 9)])
        self.kinds = nn.ModuleList([nn.Sequential(conv(n, 5), nn.Conv2d(5, 2, 1)) for n in (7, 9)])

    def forward(self, images: Tensor) -> Tensor:
        fine = self.stem(images)
        levels = self.neck(fine, self.deep(fine))
        parts = [
            torch.cat([_boxes(boxes(level), stride), kinds(level).sigmoid()], 1).flatten(2)
            for boxes, kinds, level, stride in zip(
                self.boxes, self.kinds, levels, STRIDES, strict=True
            )
        ]
        return torch.cat(parts, 2)


def _boxes(raw: Tensor, stride: int) -> Tensor:
    """Boxes of about two cells, `b 4 h w`: the centre and the size in pixels."""
    rows, columns = (torch.arange(side) + 0.5 for side in raw.shape[2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    centre = torch.stack([x, y])[None] * stride + raw[:, :2]
    return torch.cat([centre, stride * (1.5 + raw[:, 2:].sigmoid())], 1)
