"""Pictures match the numbers: the right colours, positions and text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops

from scorecam.errors import SettingError
from scorecam.images.colours import COLOURS, colour
from scorecam.images.legend import Legend
from scorecam.images.overlay import overlay, side_by_side
from scorecam.images.preprocess import Preprocess

LEGEND = Legend(
    title="tiger cat  41 %",
    low=0.0,
    high=0.0143,
    layer="features.18",
    method="Score-CAM official: α_k = p_t(X·H_k)",
)
LITE = Preprocess.lite(224)

# How the three cones' loss turns linear sRGB: Machado, Oliveira and Fernandes 2009, severity 1.
PROTANOPIA = [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
]
DEUTERANOPIA = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
]
TRITANOPIA = [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.303900],
]


def grey_photo(width: int, height: int, level: int = 128) -> Image.Image:
    return Image.new("RGB", (width, height), (level, level, level))


def whole(photo: Image.Image) -> tuple[float, float, float, float]:
    return 0.0, 0.0, float(photo.width), float(photo.height)


def drawn(photo: Image.Image, heatmap: torch.Tensor, crop: Any = None, **more: Any) -> np.ndarray:
    """The overlay's pixels, as numbers that can be subtracted."""
    legend = Legend(**(vars(LEGEND) | more))
    picture = overlay(photo, heatmap, whole(photo) if crop is None else crop, legend)
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(int)


# ── colours ──────────────────────────────────────────────────────────────────────────────────


def lab(rgb: np.ndarray, sight: Any = None) -> np.ndarray:
    """CIELAB (D65) of sRGB in 0..255, as seen with all three cones, or without one."""
    encoded = rgb / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    if sight is not None:
        linear = (linear @ np.array(sight).T).clip(0, 1)
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    xyz = linear @ np.array(to_xyz).T / [0.95047, 1.0, 1.08883]
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def test_the_lightness_formula_of_these_tests_is_correct() -> None:
    """Known CIELAB values verify the helper of the next test."""
    known = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255]])
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.2], [32.3, 79.19, -107.86]]

    np.testing.assert_allclose(lab(known), expected, atol=0.05)


@pytest.mark.parametrize(
    "sight",
    [None, PROTANOPIA, DEUTERANOPIA, TRITANOPIA],
    ids=["all cones", "protanopia", "deuteranopia", "tritanopia"],
)
def test_higher_values_are_lighter_by_even_steps(sight: Any) -> None:
    """From near black to near white, monotonic, and each tenth of the scale has its share."""
    lightness = lab(COLOURS, sight)[:, 0]
    tenths = np.diff(np.interp(np.linspace(0, 255, 11), np.arange(256), lightness))

    assert lightness[0] < 2
    assert lightness[-1] > 93
    assert (lightness[8:] - lightness[:-8] > 0).all()
    assert tenths.min() > 0.5 * tenths.mean()
    assert tenths.max() < 1.5 * tenths.mean()


def test_the_table_has_256_colours_and_cannot_be_changed() -> None:
    assert (COLOURS.shape, COLOURS.dtype) == ((256, 3), np.uint8)
    assert len(np.unique(COLOURS, axis=0)) == 256
    with pytest.raises(ValueError, match="read-only"):
        COLOURS[0] = 0


def test_values_are_looked_up_in_the_table() -> None:
    values = np.array([[0, 1, 0.5], [-3, 7, np.nan], [np.inf, -np.inf, 100 / 255]])
    steps = [[0, 255, 128], [0, 255, 0], [255, 0, 100]]

    np.testing.assert_array_equal(colour(values), COLOURS[np.array(steps)])
    assert colour(np.zeros((2, 3, 4), np.float32)).shape == (2, 3, 4, 3)
    assert colour(np.zeros(0)).shape == (0, 3)


# ── the photo and its map ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("photo_size", "shown"),
    [
        ((640, 480), (640, 480)),
        ((500, 900), (500, 900)),
        ((1600, 1200), (1600, 1200)),
        ((3200, 2000), (1600, 1000)),
        ((90, 60), (480, 320)),
        ((1, 1), (480, 480)),
        ((3000, 2), (1600, 1)),
        ((2, 3000), (1, 1600)),
    ],
)
def test_the_photo_keeps_its_shape_and_a_readable_size(
    photo_size: tuple[int, int], shown: tuple[int, int]
) -> None:
    """It is at the top, in the middle, on white."""
    photo = grey_photo(*photo_size, level=255)

    picture = drawn(photo, torch.zeros(photo_size[::-1]))

    width, height = shown
    assert picture.shape[1] == max(width, 480, height * 2 // 5)
    assert height + 60 < picture.shape[0] < height + 400
    left = (picture.shape[1] - width) // 2
    assert (picture[:height, left : left + width] == round(0.7 * 255)).all()
    assert (picture[:height, :left] < 30).all()
    assert (picture[height + 2, :] < 30).all()


@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.sampled_from([(8, 8), (5, 9), (9, 5)]),
    st.sampled_from(["resize_crop", "crop_resize", "squash"]),
    st.floats(0.1, 1),
)
def test_any_photo_and_crop_can_be_drawn(
    photo_size: tuple[int, int], size: tuple[int, int], fit: Any, fraction: float
) -> None:
    how = Preprocess(size=size, fit=fit, fraction=fraction, mean=(0.5,) * 3, std=(0.5,) * 3)
    photo = grey_photo(*photo_size)

    picture = drawn(photo, how.to_photo(torch.rand(size), photo_size), how.crop_box(photo_size))

    assert picture.shape[1] >= 480


@pytest.mark.parametrize("photo_size", [(640, 400), (400, 640), (60, 40), (40, 60), (2000, 3000)])
def test_a_blob_is_drawn_at_its_position(photo_size: tuple[int, int]) -> None:
    """The centre of the change is that of the blob, with different rows and columns."""
    width, height = photo_size
    x, y = 0.7 * width, 0.25 * height
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    distance = (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2
    blob = torch.exp(-distance / (0.05 * min(photo_size)) ** 2)
    photo = grey_photo(*photo_size)
    scale = min(max(480, *photo_size), 1600) / max(photo_size)

    with_blob, without = drawn(photo, blob), drawn(photo, torch.zeros(height, width))
    change = abs(with_blob - without).sum(axis=2)
    left = (change.shape[1] - round(width * scale)) // 2
    down, across = np.indices(change.shape) + 0.5

    assert (change * across).sum() / change.sum() - left == pytest.approx(x * scale, abs=1)
    assert (change * down).sum() / change.sum() == pytest.approx(y * scale, abs=1)


def test_a_crop_that_cuts_pixels_does_not_shift_the_map() -> None:
    """Ten pixels drawn as 480, seen from 2.5 to 7.5: the fifth one's centre stays at 4.5."""
    photo, heatmap = grey_photo(10, 10), torch.zeros(10, 10)
    heatmap[:, 4] = 1
    crop = (2.5, 0, 7.5, 10)

    change = drawn(photo, heatmap, crop) - drawn(photo, torch.zeros(10, 10), crop)
    across = abs(change[:480]).sum(axis=(0, 2))

    assert (across * (np.arange(480) + 0.5)).sum() / across.sum() == pytest.approx(216, abs=1)


def test_the_highest_value_has_the_last_colour() -> None:
    photo = grey_photo(600, 500)
    heatmap = torch.zeros(500, 600)
    heatmap[:, 300:] = 1

    picture = drawn(photo, heatmap)

    assert (picture[:500, :290] == round(0.7 * 128)).all()
    expected = 0.15 * 0.7 * 128 + 0.85 * COLOURS[255]
    np.testing.assert_allclose(picture[:500, 310:].mean(axis=(0, 1)), expected, atol=1)


def test_a_higher_value_covers_more_of_the_photo() -> None:
    """On a photo of black and white halves, the contrast between them falls as the map rises."""
    photo = grey_photo(512, 480, level=0)
    photo.paste((255, 255, 255), (0, 240, 512, 480))
    picture = drawn(photo, torch.linspace(0, 1, 512).expand(480, 512))

    contrast = (picture[300] - picture[100]).mean(axis=1)

    assert (np.diff(contrast[::16]) < 0).all()
    assert contrast[0] > 170
    assert 0 < contrast[-1] < 40


@pytest.mark.parametrize("photo_size", [(640, 400), (400, 640), (700, 700), (48, 33), (3000, 1800)])
@pytest.mark.parametrize("how", [LITE, Preprocess.imagenet()])
def test_the_outline_fits_the_map_exactly(photo_size: tuple[int, int], how: Preprocess) -> None:
    """White just inside the crop's edges; the map up to them; the dark photo right outside."""
    photo = grey_photo(*photo_size)
    crop = how.crop_box(photo_size)
    picture = drawn(photo, how.to_photo(torch.ones(224, 224), photo_size), crop)
    scale = min(max(480, *photo_size), 1600) / max(photo_size)
    shift = (picture.shape[1] - round(photo_size[0] * scale)) // 2
    left, top, right, bottom = (round(edge * scale) for edge in crop)
    left, right = left + shift, right + shift
    middle_x, middle_y = (left + right) // 2, (top + bottom) // 2
    white, dark = [255] * 3, [round(0.38 * 128)] * 3
    outline = {
        "left": (picture[middle_y, left : left + 2], picture[middle_y, left - 1]),
        "right": (picture[middle_y, right - 2 : right], picture[middle_y, right]),
        "top": (picture[top : top + 2, middle_x], picture[top - 1, middle_x]),
        "bottom": (picture[bottom - 2 : bottom, middle_x], picture[bottom, middle_x]),
    }

    for edge, (inside, outside) in outline.items():
        assert (inside == white).all(), edge
        assert outside.tolist() == dark, edge
    thickness = int((picture[middle_y, left : left + 20] == white).all(axis=1).sum())
    within = picture[top + thickness : bottom - thickness, left + thickness : right - thickness]
    assert np.ptp(within, axis=(0, 1)).max() <= 1, "the map fades towards the outline"
    assert (within[0, 0] != dark).all()


def test_a_crop_of_the_whole_photo_has_no_outline() -> None:
    picture = drawn(grey_photo(500, 400), torch.zeros(400, 500))

    assert (picture[:400] == round(0.7 * 128)).all()


def test_pixels_outside_the_crop_have_no_colour() -> None:
    """Even if the heatmap wrongly has values outside the crop."""
    red = Image.new("RGB", (600, 400), (200, 30, 30))

    picture = drawn(red, torch.ones(400, 600), (200, 100, 400, 300))

    assert np.ptp(picture[:400, :195], axis=2).max() == 0
    assert np.ptp(picture[:95], axis=2).max() == 0
    assert np.ptp(picture[305:400], axis=2).max() == 0


def test_a_map_with_nan_is_drawn() -> None:
    """NaN has no colour."""
    heatmap = torch.full((400, 500), torch.nan)

    np.testing.assert_array_equal(
        drawn(grey_photo(500, 400), heatmap), drawn(grey_photo(500, 400), torch.zeros(400, 500))
    )


def test_drawing_does_not_change_the_photo_or_the_map() -> None:
    photo, heatmap = grey_photo(50, 40), torch.rand(40, 50, requires_grad=True)
    before = photo.copy(), heatmap.detach().clone()

    drawn(photo, heatmap, (10, 5, 40, 35))

    assert ImageChops.difference(photo, before[0]).getbbox() is None
    torch.testing.assert_close(heatmap.detach(), before[1], rtol=0, atol=0)


def test_a_map_of_another_size_is_refused() -> None:
    """Swapped rows and columns are the likely mistake."""
    with pytest.raises(SettingError, match="to_photo"):
        overlay(grey_photo(50, 40), torch.zeros(50, 40), (0, 0, 50, 40), LEGEND)


@pytest.mark.parametrize(
    "crop", [(0, 0, 51, 40), (-1, 0, 50, 40), (9, 0, 9, 40), (0, 30, 50, 20), (0, 0, 50, np.nan)]
)
def test_a_crop_beyond_the_photo_is_refused(crop: Any) -> None:
    with pytest.raises(SettingError, match="crop"):
        overlay(grey_photo(50, 40), torch.zeros(40, 50), crop, LEGEND)


# ── words ────────────────────────────────────────────────────────────────────────────────────


def strip(**more: Any) -> np.ndarray:
    """The legend alone."""
    return drawn(grey_photo(640, 480), torch.zeros(480, 640), **more)[480:]


@pytest.mark.parametrize(
    "change",
    [
        {"title": "tiger cat  42 %"},
        {"low": 0.01},
        {"high": 0.0144},
        {"layer": "features.17"},
        {"method": "Grad-CAM"},
        {"notes": ("The map may show the frame.",)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_in_the_legend_is_written(change: dict[str, Any]) -> None:
    """Another title, range, layer, method or note gives another picture."""
    before, after = strip(), strip(**change)

    assert before.shape != after.shape or (before != after).any()


def test_the_bar_shows_all_colours_from_left_to_right() -> None:
    """Its right margin equals the left margin of the text."""
    bar = strip()[18]
    inside = np.flatnonzero(np.ptp(bar, axis=1) > 20)
    colours = bar[inside[0] : inside[-1] + 1]
    steps = np.linspace(0, 1, 641)
    nearest = [int(abs(colour(steps) - c).sum(axis=1).argmin()) for c in colours]

    assert (np.diff(nearest) >= 0).all()
    assert nearest[0] < 60
    assert nearest[-1] > 630
    assert 640 - 20 < inside[-1] < 640 - 12


def test_the_title_is_larger_than_the_rest() -> None:
    """Compares the same letters in both places."""

    def height(picture: np.ndarray) -> int:
        ink = np.flatnonzero((picture[:, :300] > 90).all(axis=2).any(axis=1))
        return int(np.ptp(ink))

    as_title = strip(title="HHH", layer="", method="")
    as_method = strip(title="", layer="", method="HHH")

    assert height(as_title) >= 1.4 * height(as_method)


def test_a_note_is_marked_by_a_sign_and_not_only_by_colour() -> None:
    """A disc precedes its text, at the left edge of the other lines."""
    noted = strip(notes=("Note.",))
    added = noted[len(strip()) - 12 :, :]
    disc = (added[:, 12:29] != added[0, 0]).any(axis=2)

    assert disc.mean() > 0.3
    assert disc.any(axis=0).sum() >= 15


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "猫 と 犬",
        "Ünïcödé ß ø",
        "😀👩‍👩‍👧",
        "قطة",
        "a\nb\tc\r\0d",
        "\udc80 from a file's name",
        "\N{RIGHT-TO-LEFT OVERRIDE}abc",
        "e\N{COMBINING ACUTE ACCENT}" * 50,
        "word " * 5_000,
        "x" * 100_000,
        "W" * 60,
    ],
    ids=ascii,
)
def test_any_text_can_be_drawn(text: str) -> None:
    """Without an error, inside the picture, and with a legend no taller than the photo."""
    picture = strip(title=text, layer=text, method=text, notes=(text, text))

    assert len(picture) < 480
    background = picture[-1, 0]
    assert (picture[:, :8] == background).all()
    assert (picture[:, -8:] == background).all()
    assert (picture[-8:] == background).all()


def test_greek_and_accents_are_replaced_by_readable_text() -> None:
    np.testing.assert_array_equal(strip(method="α_k × é²"), strip(method="alpha_k x e2"))


def test_a_long_title_does_not_overlap_the_bar() -> None:
    short, long = strip(title="", notes=()), strip(title="proboscis monkey " * 9, notes=())

    np.testing.assert_array_equal(short[:36, 392:], long[:36, 392:])


def test_a_legend_scales_with_its_picture() -> None:
    """The strip below a 1600-pixel photo is higher in pixels, but less than in proportion."""
    small = len(strip())
    large = len(drawn(grey_photo(1600, 1200), torch.zeros(1200, 1600))) - 1200

    assert 1.5 * small < large <= 2.6 * small


# ── side by side ─────────────────────────────────────────────────────────────────────────────


def solid(colour_name: str, width: int = 60, height: int = 40) -> Image.Image:
    return Image.new("RGB", (width, height), colour_name)


def centre_of(grid: Image.Image, rgb: tuple[int, int, int]) -> np.ndarray:
    return np.argwhere((np.asarray(grid) == rgb).all(axis=2)).mean(axis=0)


def test_pictures_are_placed_in_rows() -> None:
    pictures = [("one", solid("red")), ("two", solid("lime")), ("three", solid("blue"))]

    grid = side_by_side(pictures, columns=2)

    red, lime, blue = (centre_of(grid, c) for c in [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    assert red[0] == lime[0] < blue[0]
    assert red[1] == blue[1] < lime[1]
    for rgb in [(255, 0, 0), (0, 255, 0), (0, 0, 255)]:
        assert (np.asarray(grid) == rgb).all(axis=2).sum() == 60 * 40


def test_labels_are_written() -> None:
    pair = [side_by_side([(label, solid("red"))], columns=1) for label in ("one", "two")]

    assert pair[0].size == pair[1].size
    assert ImageChops.difference(*pair).getbbox() is not None


def test_pictures_of_different_sizes_are_not_distorted() -> None:
    grid = side_by_side([("tall", solid("red", 30, 90)), ("wide", solid("lime", 90, 30))], 2)

    assert (np.asarray(grid) == (255, 0, 0)).all(axis=2).sum() == 30 * 90
    assert (np.asarray(grid) == (0, 255, 0)).all(axis=2).sum() == 90 * 30


def test_a_row_of_large_pictures_has_a_limited_width() -> None:
    grid = side_by_side([("", solid("red", 1600, 800))] * 4, columns=4)

    assert 3200 <= grid.width <= 3400
    assert grid.height < 500


@pytest.mark.parametrize(("count", "columns"), [(0, 1), (2, 0), (2, -1)])
def test_an_empty_grid_is_refused(count: int, columns: int) -> None:
    with pytest.raises(SettingError, match="columns"):
        side_by_side([("", solid("red"))] * count, columns)
