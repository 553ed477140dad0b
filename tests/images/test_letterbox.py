"""Letterboxes and BGR inputs: pixels, positions and the way back."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scorecam.images.full_size import FullSize
from scorecam.images.pictures import photo_picture
from scorecam.images.preprocess import Preprocess
from scorecam.images.transform import Transform

SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))
"""Of photos, (width, height), and of inputs, (height, width)."""


def boxed(size: tuple[int, int] = (64, 64), **more: Any) -> Preprocess:
    plain: dict[str, Any] = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
    return Preprocess(size=size, fit="letterbox", **plain | more)


LETTERBOXES = st.builds(
    boxed,
    size=SIZES,
    padding=st.sampled_from([0, 114 / 255, 0.3, 1]),
    interpolation=st.sampled_from(["bilinear", "linear"]),
    anchor=st.sampled_from(["centre", "top_left"]),
    channels=st.sampled_from(["rgb", "bgr"]),
)


def photo_of(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def yolo_letterbox(photo: Image.Image, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """What YOLO's letterbox does, before rounding; torch resizes as OpenCV does."""
    scale = min(size[0] / photo.height, size[1] / photo.width)
    wide, high = round(photo.width * scale), round(photo.height * scale)
    across, down = (size[1] - wide) / 2, (size[0] - high) / 2
    top, bottom = round(down - 0.1), round(down + 0.1)
    left, right = round(across - 0.1), round(across + 0.1)
    values = torch.as_tensor(np.array(photo)).movedim(-1, 0)[None].double()
    linear = torch.nn.functional.interpolate(values, (high, wide), mode="bilinear")
    pixels = linear[0].movedim(0, -1).numpy()
    margins = (top, bottom), (left, right), (0, 0)
    return np.pad(pixels, margins, constant_values=114)


# ── pixels ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (95, 64)])
@pytest.mark.parametrize(
    "photo_size", [(91, 50), (50, 91), (64, 64), (640, 480), (333, 334), (31, 200), (7, 5)]
)
def test_a_letterbox_has_the_pixels_of_yolo(
    photo_size: tuple[int, int], size: tuple[int, int]
) -> None:
    photo = photo_of(*photo_size)
    how = dataclasses.replace(Preprocess.yolo(), size=size)
    expected = yolo_letterbox(photo, size)

    assert expected.shape == (*size, 3)
    shown = np.array(how.view(photo))
    assert np.abs(shown - expected).max() <= 0.5 + 1e-9  # rounded to the nearest level
    torch.testing.assert_close(how(photo), torch.as_tensor(shown).movedim(-1, 0) / 255)


def test_an_odd_pixel_of_padding_is_below_and_to_the_right() -> None:
    """Two of seven rows show the photo: two are above and three below."""
    white = Image.new("RGB", (4, 2), (255, 255, 255))

    tall = np.asarray(boxed((7, 4)).view(white))[..., 0]
    wide = np.asarray(boxed((4, 7)).view(white.transpose(Image.Transpose.ROTATE_90)))[..., 0]

    assert (tall[:, 0] == 255).nonzero()[0].tolist() == [2, 3]
    assert (wide[0] == 255).nonzero()[0].tolist() == [2, 3]


def test_a_letterbox_may_start_in_the_upper_left_corner() -> None:
    how = boxed((8, 8), anchor="top_left", padding=0)
    shown = np.asarray(how.view(Image.new("RGB", (16, 8), (255, 255, 255))))[..., 0]

    assert shown[:4].min() == 255
    assert shown[4:].max() == 0
    assert how.placement((16, 8)).box == (0, 0, 16, 16)


def test_the_photos_of_a_bgr_model_are_reversed_before_normalising() -> None:
    """Red 255, green 51, blue 0; mean and std are in the model's order: blue first."""
    how = boxed((2, 2), channels="bgr", mean=(0.1, 0.2, 0.3), std=(1, 2, 4))
    photo = Image.new("RGB", (2, 2), (255, 51, 0))

    values = how(photo)

    torch.testing.assert_close(values[:, 0, 0], torch.tensor([-0.1, 0.0, 0.7 / 4]))
    assert how.unnormalise(values).getpixel((0, 0)) == (255, 51, 0)
    assert how.view(photo).getpixel((0, 0)) == (255, 51, 0)


def test_bands_are_reversed_and_padded_as_photos_are() -> None:
    photo = photo_of(30, 20)
    bands = torch.as_tensor(np.array(photo)).movedim(-1, 0).float() / 255
    for how in (boxed(channels="bgr"), boxed((20, 30)), boxed(anchor="top_left", padding=0.3)):
        # The pixels of a photo are rounded to whole numbers, those of bands are not.
        limit = 1.01 / 255 / min(how.std)
        torch.testing.assert_close(how.of_bands(bands), how(photo), rtol=0, atol=limit)


def test_a_grey_model_has_a_letterbox_too() -> None:
    how = boxed((4, 8), mean=(0.0,), std=(1.0,), padding=0.2)

    values = how(Image.new("RGB", (5, 5), (255, 255, 255)))

    assert values.shape == (1, 4, 8)
    torch.testing.assert_close(values[0, 0], torch.tensor([0.2, 0.2, 1, 1, 1, 1, 0.2, 0.2]))


@given(LETTERBOXES, SIZES)
def test_an_unnormalised_letterbox_is_what_the_model_sees(
    how: Preprocess, photo_size: tuple[int, int]
) -> None:
    photo = photo_of(*photo_size)

    np.testing.assert_array_equal(how.unnormalise(how(photo)), how.view(photo))


def test_a_sliding_window_keeps_the_order_of_the_colours() -> None:
    """Photos keep their size there, so a letterbox has no effect."""
    photo = photo_of(9, 7)
    how = boxed(channels="bgr")
    whole = FullSize(how, (4, 4))

    assert whole(photo).shape == (3, 7, 9)
    np.testing.assert_array_equal(whole.unnormalise(whole(photo)), photo)
    expected = torch.as_tensor(np.array(photo)[..., ::-1].copy()).movedim(-1, 0) / 255
    mean, std = how.colours()
    torch.testing.assert_close(whole(photo), (expected - mean) / std)


# ── positions ────────────────────────────────────────────────────────────────────────────────


@given(LETTERBOXES, SIZES)
def test_the_whole_photo_is_in_a_letterbox(how: Preprocess, photo_size: tuple[int, int]) -> None:
    placement = how.placement(photo_size)
    left, top, right, bottom = placement.box
    width, height = photo_size
    rows, columns = how.size

    assert how.crop_box(photo_size) == (0, 0, width, height)
    # One side of the photo fills the input, and the shape is kept up to half a pixel.
    assert math.isclose(right - left, width) or math.isclose(bottom - top, height)
    wide, high = columns * width / (right - left), rows * height / (bottom - top)
    scale = min(rows / height, columns / width)
    assert abs(wide - width * scale) <= max(0.5, 1 - width * scale) + 1e-6
    assert abs(high - height * scale) <= max(0.5, 1 - height * scale) + 1e-6


@given(LETTERBOXES, SIZES)
def test_a_mask_of_everything_is_what_is_not_padded(
    how: Preprocess, photo_size: tuple[int, int]
) -> None:
    white = Image.new("RGB", photo_size, (255, 255, 255))
    black = Image.new("RGB", photo_size)
    shown = np.asarray(how.view(white))[..., 0] != np.asarray(how.view(black))[..., 0]

    mask = how.mask_to_input(np.ones(photo_size[::-1], bool))

    np.testing.assert_array_equal(mask.numpy(), shown)


@given(
    st.sampled_from([(40, 40), (40, 56), (56, 40)]),
    st.sampled_from([(200, 120), (120, 200), (170, 170), (31, 30)]),
    st.sampled_from(["centre", "top_left"]),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_a_box_is_where_its_pixels_are(
    size: tuple[int, int], photo_size: tuple[int, int], anchor: str, corners: list[float]
) -> None:
    """A white box, up to the blur of resizing along each edge."""
    width, height = photo_size
    x1, x2 = sorted(round(corner * width) for corner in corners[:2])
    y1, y2 = sorted(round(corner * height) for corner in corners[2:])
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y1:y2, x1:x2] = 255
    how = boxed(size, anchor=anchor, padding=0)

    shown = np.asarray(how.view(Image.fromarray(pixels)))[..., 0] / 255
    [box] = how.boxes_to_input(np.array([[x1, y1, x2, y2]]), photo_size).tolist()
    rows, columns = np.indices(size) + 0.5
    across = np.minimum(columns - box[0], box[2] - columns)
    down = np.minimum(rows - box[1], box[3] - rows)
    inside, outside = np.minimum(across, down) > 1.5, np.minimum(across, down) < -1.5

    assert (shown[inside] > 0.9).all()
    assert (shown[outside] < 0.1).all()


@pytest.mark.parametrize("anchor", ["centre", "top_left"])
@pytest.mark.parametrize("photo_size", [(240, 160), (160, 240), (200, 31)])
def test_a_map_of_positions_keeps_them_on_the_photo(
    photo_size: tuple[int, int], anchor: str
) -> None:
    """The map of x coordinates is x on the photo, and likewise y: no shift, stretch or swap."""
    how = boxed((60, 50), anchor=anchor)
    left, top, right, bottom = how.placement(photo_size).box
    x = left + (torch.arange(50) + 0.5) * (right - left) / 50
    y = top + (torch.arange(60) + 0.5) * (bottom - top) / 60
    y_of_photo, x_of_photo = np.indices(photo_size[::-1]) + 0.5
    margin = math.ceil((right - left) / 50)  # flat at the border
    inside = np.s_[margin:-margin, margin:-margin]

    x_on_photo = how.to_photo(x.expand(60, 50), photo_size)
    y_on_photo = how.to_photo(y[:, None].expand(60, 50), photo_size)

    np.testing.assert_allclose(x_on_photo[inside], x_of_photo[inside], rtol=1e-4)
    np.testing.assert_allclose(y_on_photo[inside], y_of_photo[inside], rtol=1e-4)


def test_heat_on_the_padding_is_not_on_the_photo() -> None:
    """A 40 x 20 photo takes the rows 5 to 15 of 20."""
    how = boxed((20, 20))
    heatmap = torch.zeros(20, 20)
    heatmap[:4], heatmap[16:] = 1, 1

    assert how.to_photo(heatmap, (40, 20)).abs().max() == 0


def test_a_letterboxed_photo_is_drawn_whole_and_without_an_outline() -> None:
    photo = Image.new("RGB", (600, 300), (120, 120, 120))
    letterboxed = photo_picture(photo, boxed((60, 60)), torch.zeros(60, 60), None)
    squashed = dataclasses.replace(boxed((60, 60)), fit="squash")

    assert letterboxed.size == (600, 300)
    np.testing.assert_array_equal(
        letterboxed, photo_picture(photo, squashed, torch.zeros(60, 60), None)
    )


@pytest.mark.parametrize("photo_size", [(400, 300), (300, 431)])
def test_a_users_own_letterbox_is_found_where_ours_is(photo_size: tuple[int, int]) -> None:
    how = boxed((96, 96), channels="bgr", interpolation="linear")
    placement = Transform(how).placement(photo_size)

    assert placement is not None
    assert placement.box == pytest.approx(how.placement(photo_size).box, abs=0.3)
