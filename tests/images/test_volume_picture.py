"""The picture of a volume: the slices go through the right voxel, and axes are not mixed up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor
from torch import Tensor

from scorecam.errors import PhotoError, SettingError
from scorecam.images.colours import COLOURS
from scorecam.images.legend import Legend
from scorecam.images.pictures import input_picture
from scorecam.images.signal_picture import signal_picture
from scorecam.images.volume_picture import (
    CROSS,
    highest,
    projected,
    slices_at,
    volume_picture,
)

LEGEND = Legend("tumour  0.93", 0.0, 0.02, "encoder.3", "Score-CAM official")
SIZE, POINT = (6, 20, 12), (4, 3, 9)
"""D, H and W differ, and so do the indices."""


def planted() -> Tensor:
    heatmap = torch.zeros(SIZE)
    heatmap[POINT] = 1
    return heatmap


def crossed(picture: Image.Image) -> list[tuple[int, int]]:
    """The (x, y) of each crosshair, from left to right."""
    blue = (np.asarray(picture) == ImageColor.getrgb(CROSS)).all(axis=2)
    columns = np.flatnonzero(blue.sum(axis=0) > 30)
    return [(int(x), int(blue[:, max(0, x - 40) : x + 40].sum(axis=1).argmax())) for x in columns]


def panels(picture: Image.Image) -> list[tuple[int, int, int, int]]:
    """(left, top, right, bottom) of the three slices of a volume drawn on grey."""
    grey = (np.asarray(picture) == 90).all(axis=2) | (
        np.asarray(picture) == ImageColor.getrgb(CROSS)
    ).all(axis=2)
    busy = np.flatnonzero(grey.sum(axis=0) > 20)
    found = []
    for columns in np.split(busy, np.flatnonzero(np.diff(busy) > 5) + 1):
        rows = np.flatnonzero(grey[:, columns].sum(axis=1) > 20)
        first = np.split(rows, np.flatnonzero(np.diff(rows) > 20) + 1)[0]
        found.append((columns[0], first[0], columns[-1] + 1, first[-1] + 1))
    return found


def sides(**more: Any) -> np.ndarray:
    """(width, height) of the three slices of a faint map on grey."""
    boxes = np.array(panels(volume_picture(None, planted(), None, **more)))
    return boxes[:, 2:] - boxes[:, :2]


# ── numbers ──────────────────────────────────────────────────────────────────────────────────


def test_the_slices_go_through_the_maximum_of_the_map() -> None:
    image = torch.randn(1, *SIZE)
    heatmap = planted()
    low, high = float(image.min()), float(image.max())
    expected = [image[0, 4], image[0, :, 3], image[0, :, :, 9]]

    assert highest(heatmap) == POINT
    for plane, values, place in zip(
        slices_at(image, heatmap, POINT), expected, [(3, 9), (4, 9), (4, 3)], strict=True
    ):
        np.testing.assert_allclose(plane.grey, (values - low) / (high - low) * 255, atol=1e-3)
        assert plane.heatmap[place] == 1
        assert plane.heatmap.sum() == 1


def test_the_projections_are_the_maximum_of_the_map_and_the_mean_of_the_input() -> None:
    image, heatmap = torch.rand(1, *SIZE), torch.rand(SIZE)

    for axis, plane in enumerate(projected(image, heatmap)):
        mean = image[0].mean(axis)
        expected = (mean - mean.min()) / (mean.max() - mean.min()) * 255
        np.testing.assert_array_equal(plane.heatmap, heatmap.amax(axis))
        np.testing.assert_allclose(plane.grey, expected, atol=1e-3)


def test_channels_are_stretched_before_they_are_averaged() -> None:
    """A channel of large numbers does not hide the others."""
    one = torch.rand(1, *SIZE)
    together = torch.cat([one, 1000 * one + 5, -one])
    alone, mixed = (slices_at(image, planted(), POINT)[0].grey for image in (one, together))

    np.testing.assert_allclose(mixed, (alone + alone + (255 - alone)) / 3, atol=0.01)


def test_a_constant_map_is_cut_at_the_centre() -> None:
    assert highest(torch.zeros(5, 8, 3)) == (2, 4, 1)


# ── pixels ───────────────────────────────────────────────────────────────────────────────────


def test_the_crosshairs_are_at_the_maximum_in_each_slice() -> None:
    """h down and w right; d down and w right; d down and h right."""
    picture = volume_picture(None, planted(), None)
    depth, height, width = SIZE
    d, h, w = POINT
    places = [(w / width, h / height), (w / width, d / depth), (h / height, d / depth)]
    cells = [(1 / width, 1 / height), (1 / width, 1 / depth), (1 / height, 1 / depth)]

    boxes, found = panels(picture), crossed(picture)
    assert len(boxes) == len(found) == 3
    for box, cross, place, cell in zip(boxes, found, places, cells, strict=True):
        left, top, right, bottom = box
        x, y = (cross[0] - left) / (right - left), (cross[1] - top) / (bottom - top)
        assert place[0] < x < place[0] + cell[0]
        assert place[1] < y < place[1] + cell[1]


def test_the_hot_colour_is_at_the_crosshair_only() -> None:
    picture = volume_picture(None, planted(), None)
    pixels = np.asarray(picture).astype(int)

    for x, y in crossed(picture):
        assert np.abs(pixels[y, x] - COLOURS[255]).max() < 40
    bright = (pixels[:, :, 0] > 200) & (pixels[:, :, 2] < 180)
    assert 0 < bright.mean() < 0.02


def test_planes_have_the_aspect_ratio_of_their_voxels() -> None:
    depth, height, width = SIZE
    ratios = sides()[:, 0] / sides()[:, 1]

    np.testing.assert_allclose(ratios, [width / height, width / depth, height / depth], rtol=0.02)


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_spacing_changes_the_aspect_ratio_by_its_factor(factor: float) -> None:
    cubes, boxes = sides(), sides(spacing=(factor, 1.0, 1.0))
    change = (boxes[:, 1] / boxes[:, 0]) / (cubes[:, 1] / cubes[:, 0])

    np.testing.assert_allclose(change, [1, factor, factor], rtol=0.02)


@pytest.mark.parametrize(
    "size", [(1, 1, 1), (2, 2, 2), (1, 1, 300), (300, 1, 1), (1, 300, 2)], ids=str
)
@pytest.mark.parametrize("channels", [0, 1, 4])
def test_volumes_of_any_shape_are_drawn(size: tuple[int, int, int], channels: int) -> None:
    image = torch.zeros(channels, *size) if channels else None
    picture = volume_picture(image, torch.rand(size), LEGEND)

    assert picture.mode == "RGB"
    assert 1200 <= picture.width < 1700
    assert picture.height < 1700


def test_voxels_that_are_not_finite_are_drawn() -> None:
    image = torch.rand(1, *SIZE)
    image[0, 4, 3, :3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    grey = slices_at(image, planted(), POINT)[0].grey

    np.testing.assert_array_equal(grey[3, :3], [0, 255, 0])
    assert volume_picture(image, planted(), LEGEND).width == 1200


# ── which picture ────────────────────────────────────────────────────────────────────────────


def test_the_caption_states_the_voxel_and_the_stretching(monkeypatch: pytest.MonkeyPatch) -> None:
    captions: list[str] = []

    def record(legend: Legend, width: int) -> Image.Image:
        captions.append(legend.caption)
        return Image.new("RGB", (width, 10))

    monkeypatch.setattr("scorecam.images.volume_picture.draw_legend", record)
    for image in (torch.rand(1, *SIZE), torch.rand(2, *SIZE), None):
        input_picture(image, planted(), LEGEND)

    assert all("6 × 20 × 12 voxels" in text and "d = 4, h = 3, w = 9" in text for text in captions)
    assert "Greys are stretched" in captions[0]
    assert "Each of the 2 channels is stretched" in captions[1]
    assert captions[2].endswith("The values of the input are not known.")


def test_three_channels_are_a_video_and_others_a_volume() -> None:
    heatmap = torch.rand(4, 6, 5)
    widths = [
        input_picture(image, heatmap, LEGEND).width
        for image in (torch.rand(3, 4, 6, 5), torch.rand(2, 4, 6, 5), torch.rand(1, 4, 6, 5), None)
    ]

    assert widths[0] == 1600
    assert all(1200 <= width <= 1210 for width in widths[1:])


def test_four_axes_have_no_picture() -> None:
    with pytest.raises(PhotoError, match="4 axes"):
        input_picture(None, torch.rand(2, 2, 2, 2), None)


def test_an_input_of_another_size_is_refused() -> None:
    with pytest.raises(SettingError, match=r"\(4, 6\), and the heatmap \(4, 5\)"):
        input_picture(torch.rand(1, 4, 6), torch.rand(4, 5), None)


@pytest.mark.parametrize(
    ("channels", "expected"), [(1, [0, 89, 178]), (5, [0, 89, 178]), (3, [0, 89, 178])]
)
def test_a_tensor_with_rows_and_columns_is_stretched(channels: int, expected: list[int]) -> None:
    image = torch.tensor([-3.0, 0.0, 3.0]).repeat_interleave(160).repeat(channels, 480, 1)
    pixels = np.asarray(input_picture(image, torch.zeros(480, 480), None))

    np.testing.assert_allclose(pixels[240, [80, 240, 400], 0], expected, atol=1)


# ── the spacing ──────────────────────────────────────────────────────────────────────────────


def test_the_spacing_reaches_the_slices_and_the_seconds() -> None:
    volume = input_picture(None, planted(), None, spacing=[2.0, 1, 1])
    image, heatmap = torch.rand(1, 500), torch.rand(500)
    signal = input_picture(image, heatmap, None, spacing=[0.004])
    samples = input_picture(image, heatmap, None)

    stretched = volume_picture(None, planted(), None, spacing=(2.0, 1.0, 1.0))
    assert volume.tobytes() == stretched.tobytes()
    assert signal.tobytes() == signal_picture(image, heatmap, None, rate=250.0).tobytes()
    assert signal.tobytes() != samples.tobytes()


@pytest.mark.parametrize(
    ("spacing", "phrase"),
    [
        ([1.0, 1.0], "2 numbers"),
        ([1.0, 0.0, 1.0], "spacing=0"),
        ([1.0, float("nan"), 1.0], "spacing=nan"),
        (["1", 1.0, 1.0], "not a number"),
        (2.0, "not a list"),
    ],
    ids=str,
)
def test_an_invalid_spacing_is_refused(spacing: Any, phrase: str) -> None:
    with pytest.raises(SettingError, match=phrase):
        input_picture(None, planted(), None, spacing=spacing)


@pytest.mark.parametrize(
    "image", [torch.rand(3, 4, 6, 5), torch.rand(1, 6, 5)], ids=["video", "2D"]
)
def test_a_spacing_that_would_have_no_effect_is_refused(image: Tensor) -> None:
    with pytest.raises(SettingError, match="signals and volumes"):
        input_picture(image, torch.rand(image.shape[1:]), None, spacing=[1.0] * (image.ndim - 1))
