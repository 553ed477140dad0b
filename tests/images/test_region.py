"""Boxes and masks are outlined where they are, and visibly on every picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageColor

from scorecam.images.curves import Plot
from scorecam.images.legend import Legend
from scorecam.images.lettering import BACKGROUND
from scorecam.images.overlay import overlay
from scorecam.images.pictures import OUTSIDE, input_picture, photo_picture
from scorecam.images.placement import Placement
from scorecam.images.preprocess import Preprocess
from scorecam.images.region import OUTLINE, draw_outline, region_mask, resized_mask

BLUE, DARK = (np.array(ImageColor.getrgb(colour)) for colour in (OUTLINE, BACKGROUND))


def blue_at(picture: Image.Image) -> np.ndarray:
    """The pixels of the outline, `h w` bool."""
    return (np.asarray(picture) == BLUE).all(axis=2)


def bounds(picture: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the outline."""
    rows = np.flatnonzero(blue_at(picture).any(axis=1))
    columns = np.flatnonzero(blue_at(picture).any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def on_grey(region: Any, width: int = 600, height: int = 400, level: int = 128) -> Image.Image:
    """An overlay without a map, at the photo's own size."""
    photo = Image.new("RGB", (width, height), (level,) * 3)
    nothing = torch.zeros(height, width)
    return overlay(photo, nothing, (0.0, 0.0, width, height), None, region=region)


def preprocess(fit: Any, size: tuple[int, int] = (60, 60)) -> Preprocess:
    return Preprocess(size=size, fit=fit, mean=(0.5,) * 3, std=(0.5,) * 3)


# ── the pixels of a region ───────────────────────────────────────────────────────────────────


def test_a_box_has_the_last_axis_first() -> None:
    mask = region_mask((5.0, 6.0, 7.0, 8.0, 9.0, 11.0), (12, 13, 14))
    expected = torch.zeros(12, 13, 14, dtype=torch.bool)
    expected[7:11, 6:9, 5:8] = True
    assert torch.equal(mask, expected)


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((2.0, 5.0), [2, 3, 4]),
        ((2.3, 4.2), [2, 3, 4]),
        ((-9.0, 2.0), [0, 1]),
        ((6.5, 99.0), [6, 7]),
        ((3.0, 3.0), [3]),
        ((9.0, 12.0), []),
        ((-5.0, -1.0), []),
        ((5.0, 2.0), []),
    ],
)
def test_a_span_touches_the_pixels_of_the_picture(
    box: tuple[float, float], pixels: list[int]
) -> None:
    assert region_mask(box, (8,)).nonzero()[:, 0].tolist() == pixels


def test_a_reduced_mask_keeps_halves_and_never_vanishes() -> None:
    mask = torch.zeros(40, 60, dtype=torch.bool)
    mask[:, 20:] = True
    assert np.array_equal(resized_mask(mask, (6, 4)), np.arange(6)[None].repeat(4, 0) >= 2)
    mask[:] = False
    mask[17, 31] = True
    assert resized_mask(mask, (6, 4)).any()


# ── where it is drawn ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("box", [(50, 70, 220, 300), (0, 0, 600, 400), (300, 5, 420, 395)])
def test_the_outline_of_a_box_is_at_its_pixels(box: tuple[int, ...]) -> None:
    assert bounds(on_grey(tuple(map(float, box)))) == box


def test_the_outline_of_a_mask_is_its_contour_and_its_holes() -> None:
    y, x = np.mgrid[:400, :600]
    distance = np.hypot(x - 250, y - 190)
    mask = (distance < 150) & (distance > 60)
    blue = blue_at(on_grey(torch.from_numpy(mask)))

    assert not blue[~mask].any()
    near = (np.abs(distance - 150) < 2) | (np.abs(distance - 60) < 2)
    assert blue[mask & near].mean() > 0.95
    assert not blue[mask & (distance > 75) & (distance < 135)].any()


def test_a_mask_of_the_whole_picture_is_outlined_at_its_edge() -> None:
    picture = on_grey(torch.ones(400, 600, dtype=torch.bool))
    assert bounds(picture) == (0, 0, 600, 400)
    assert not blue_at(picture)[20:-20, 20:-20].any()


@pytest.mark.parametrize("side", [1, 4, 9, 15])
def test_a_small_box_is_outlined_from_outside(side: int) -> None:
    picture = on_grey((200.0, 100.0, 200.0 + side, 100.0 + side))
    plain = on_grey(None)
    inside = np.s_[100 : 100 + side, 200 : 200 + side]
    assert np.array_equal(np.asarray(picture)[inside], np.asarray(plain)[inside])
    left, top, right, bottom = bounds(picture)
    assert left < 200 < 200 + side < right
    assert top < 100 < 100 + side < bottom
    assert right - left < side + 20


def test_nothing_is_drawn_without_a_region_or_outside_the_picture() -> None:
    for region in (None, (-90.0, 5.0, -20.0, 60.0), torch.zeros(400, 600, dtype=torch.bool)):
        assert not blue_at(on_grey(region)).any()


@pytest.mark.parametrize("level", range(0, 256, 15))
def test_the_outline_has_contrast_on_every_grey(level: int) -> None:
    """3 : 1 between the photo and one of the two colours, as WCAG 2.2 asks of graphics."""
    picture = on_grey((50.0, 70.0, 220.0, 300.0), level=level)
    pixels = np.asarray(picture)
    assert all((pixels == colour).all(axis=2).any() for colour in (BLUE, DARK))
    photo = np.asarray(picture)[0, 0]
    assert max(contrast(photo, BLUE), contrast(photo, DARK)) >= 3
    assert contrast(BLUE, DARK) >= 8


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """The ratio of the luminances of two colours, as in WCAG."""
    shares = np.array([one, other]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return float((light + 0.05) / (dark + 0.05))


def test_an_outline_at_a_corner_stays_in_the_picture() -> None:
    picture = Image.new("RGB", (64, 48))
    mask = np.zeros((48, 64), np.bool_)
    mask[40:, 56:] = True
    draw_outline(picture, mask)
    assert picture.size == (64, 48)
    assert blue_at(picture).any()


# ── from the input to the photo ──────────────────────────────────────────────────────────────

SPAN = st.tuples(st.floats(0.05, 0.45), st.floats(0.55, 0.95))


@given(x=SPAN, y=SPAN, mirrored=st.booleans(), left=st.floats(-200, 100), top=st.floats(-90, 50))
def test_a_box_goes_to_the_input_and_back(
    x: tuple[float, float], y: tuple[float, float], mirrored: bool, left: float, top: float
) -> None:
    box = (left, top, 500.0, 350.0)
    if mirrored:
        box = (box[2], top, left, 350.0)
    placement = Placement((450, 300), (60, 80), box)
    x1, y1, x2, y2 = placement.crop
    photo = [x1 + x[0] * (x2 - x1), y1 + y[0] * (y2 - y1)]
    photo += [x1 + x[1] * (x2 - x1), y1 + y[1] * (y2 - y1)]
    moved = placement.boxes_to_input(torch.tensor([photo]))[0].tolist()
    assert placement.box_to_photo(moved) == pytest.approx(photo, abs=1e-2)


@pytest.mark.parametrize("fit", ["letterbox", "squash", "crop_resize", "resize_crop"])
@pytest.mark.parametrize("size", [(600, 300), (500, 900)])
def test_a_box_and_a_mask_are_drawn_at_the_same_place(fit: Any, size: tuple[int, int]) -> None:
    """The box of a known part of the photo, through the input and back."""
    photo, pre = Image.new("RGB", size, (90, 90, 90)), preprocess(fit)
    middle, radius = (size[0] / 2, size[1] / 2), 60
    box = [middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius]
    in_input = pre.boxes_to_input(torch.tensor([box]), photo.size)[0]
    pixel = max(size) / 60
    region = tuple(in_input.tolist())
    nothing = torch.zeros(60, 60)
    as_box = photo_picture(photo, pre, nothing, None, region=region)
    assert bounds(as_box) == pytest.approx(box, abs=1)
    mask = region_mask(tuple(in_input.round().tolist()), (60, 60))
    as_mask = photo_picture(photo, pre, nothing, None, region=mask)
    assert bounds(as_mask) == pytest.approx(box, abs=pixel)


def test_a_box_in_the_padding_is_named_and_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    legends: list[Legend] = []

    def keep(legend: Legend, width: int) -> Image.Image:
        legends.append(legend)
        return Image.new("RGB", (width, 9))

    monkeypatch.setattr("scorecam.images.overlay.draw_legend", keep)
    legend = Legend("title", 0, 1, "layer", "method", outline="The box is outlined in blue.")
    photo = Image.new("RGB", (600, 300))
    for region in ((5.0, 1.0, 40.0, 12.0), region_mask((5.0, 1.0, 40.0, 12.0), (60, 60))):
        picture = photo_picture(
            photo, preprocess("letterbox"), torch.zeros(60, 60), legend, region=region
        )
        assert not blue_at(picture).any()
        assert legends.pop().outline == OUTSIDE


# ── signals, volumes and videos ──────────────────────────────────────────────────────────────


def test_a_span_of_a_signal_is_outlined_on_every_channel() -> None:
    signal = torch.zeros(2, 500)
    picture = input_picture(signal, torch.zeros(500), None, region=(100.0, 180.0))
    plot = Plot(1200, 22, 500)
    left, _, right, _ = bounds(picture)
    assert left == pytest.approx(plot.x(100), abs=2)
    assert right == pytest.approx(plot.x(180), abs=2)
    crossed = np.diff(blue_at(picture)[:, left].astype(int))
    assert (crossed == 1).sum() + blue_at(picture)[0, left] == 2


def test_a_box_of_a_volume_is_outlined_in_the_planes_that_it_touches() -> None:
    heatmap = torch.zeros(16, 32, 40)
    heatmap[0, 10, 10] = 1  # the slice d = 0 is outside the box, h = 10 and w = 10 cross it
    box = (5.0, 5.0, 4.0, 20.0, 30.0, 12.0)
    plain, drawn = (
        np.asarray(input_picture(None, heatmap, None, region=region)).astype(int)
        for region in (None, box)
    )
    changed = (plain != drawn).any(axis=2)
    rows, third = plain.shape[0] // 2, plain.shape[1] // 3
    upper = [changed[:rows, part * third : (part + 1) * third].any() for part in range(3)]
    lower = [changed[rows:, part * third : (part + 1) * third].any() for part in range(3)]
    assert upper == [False, True, True]
    assert lower == [True, True, True]


def test_a_box_of_a_video_is_outlined_in_its_frames() -> None:
    video, heatmap = torch.rand(3, 8, 30, 40), torch.zeros(8, 30, 40)
    box = (5.0, 5.0, 2.0, 20.0, 25.0, 4.0)
    picture = input_picture(video, heatmap, None, region=box)
    plot = Plot(1600, 23, 8)
    columns = np.flatnonzero(blue_at(picture).any(axis=0)) - plot.left
    frames = {int(column / (plot.columns / 8)) for column in columns}
    assert frames == {2, 3}
