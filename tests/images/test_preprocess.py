"""The model's view of a photo, and its position in the photo."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scorecam.errors import SettingError
from scorecam.images.preprocess import Preprocess

FITS = ("resize_crop", "crop_resize", "squash")
SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))
"""Of photos, (width, height), and of inputs, (height, width)."""


def preprocess(size: tuple[int, int] = (20, 32), fit: str = "squash", **more: Any) -> Preprocess:
    plain = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
    return Preprocess(size=size, fit=fit, **plain | more)  # type: ignore[arg-type]


PREPROCESSES = st.builds(
    preprocess,
    size=SIZES,
    fit=st.sampled_from(FITS),
    fraction=st.floats(0.05, 1),
    interpolation=st.sampled_from(["bilinear", "bicubic", "nearest", "lanczos", "linear"]),
)


def photo_of(width: int, height: int, seed: int = 0) -> Image.Image:
    """A photo with detail at every scale: noise on a smooth ground."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    smooth = Image.fromarray(noise).resize((5, 4)).resize((width, height), Image.Resampling.BICUBIC)
    return Image.blend(Image.fromarray(noise), smooth, 0.5)


# ── the pixels the model gets ────────────────────────────────────────────────────────────────


@pytest.mark.needs("torchvision")
@pytest.mark.parametrize("size", [64, 75, 224])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "lanczos"])
@pytest.mark.parametrize(
    "photo_size", [(500, 375), (375, 500), (301, 300), (256, 256), (80, 57), (257, 1000), (3, 2)]
)
def test_resize_crop_gives_the_pixels_of_torchvision(
    photo_size: tuple[int, int], size: int, interpolation: str
) -> None:
    from torchvision.transforms import InterpolationMode, v2

    photo = photo_of(*photo_size)
    ours = dataclasses.replace(Preprocess.imagenet(size), interpolation=interpolation)
    theirs = v2.Compose(
        [
            v2.Resize(round(size / 0.875), InterpolationMode(interpolation)),
            v2.CenterCrop(size),
        ]
    )
    normalise = v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )

    np.testing.assert_array_equal(np.asarray(ours.view(photo)), np.asarray(theirs(photo)))
    torch.testing.assert_close(ours(photo), normalise(theirs(photo)).as_subclass(torch.Tensor))


@pytest.mark.parametrize("size", [224, 240, 260])
@pytest.mark.parametrize("photo_size", [(500, 375), (375, 500), (333, 333), (90, 61), (1001, 400)])
def test_lite_follows_the_official_recipe(photo_size: tuple[int, int], size: int) -> None:
    """Cut out size / (size + 32) of the short side, resize that, and take (x - 127) / 128."""
    photo = photo_of(*photo_size)
    width, height = photo_size
    side = int(size / (size + 32) * min(width, height))
    left, top = (width - side + 1) // 2, (height - side + 1) // 2
    box = (left, top, left + side, top + side)
    expected = photo.resize((size, size), Image.Resampling.BICUBIC, box=box)
    lite = Preprocess.lite(size)

    np.testing.assert_array_equal(np.asarray(lite.view(photo)), np.asarray(expected))
    values = torch.as_tensor(np.array(expected), dtype=torch.float64).permute(2, 0, 1)
    torch.testing.assert_close(lite(photo).double(), (values - 127) / 128, rtol=0, atol=1e-6)
    assert lite.crop_box(photo_size) == box


def test_squash_uses_the_whole_photo() -> None:
    photo = photo_of(70, 31)
    expected = np.asarray(photo.resize((32, 20), Image.Resampling.BILINEAR))

    np.testing.assert_array_equal(np.asarray(preprocess().view(photo)), expected)
    assert preprocess().crop_box((70, 31)) == (0, 0, 70, 31)


@pytest.mark.parametrize("photo_size", [(64, 50), (20, 33), (500, 31), (1, 1), (32, 20)])
def test_linear_has_the_pixels_of_torch_without_antialiasing(photo_size: tuple[int, int]) -> None:
    """As OpenCV's resize."""
    photo = photo_of(*photo_size)
    values = torch.as_tensor(np.array(photo)).movedim(-1, 0)[None].double()
    expected = torch.nn.functional.interpolate(values, (20, 32), mode="bilinear")[0].round()
    how = preprocess(interpolation="linear")

    shown = torch.as_tensor(np.array(how.view(photo))).movedim(-1, 0)

    torch.testing.assert_close(shown.double(), expected)
    grey = preprocess(interpolation="linear", mean=(0.0,), std=(1.0,))
    luma = torch.as_tensor(np.array(photo.convert("L")))[None, None].double()
    expected = torch.nn.functional.interpolate(luma, (20, 32), mode="bilinear")[0].round() / 255
    torch.testing.assert_close(grey(photo).double(), expected, rtol=0, atol=1e-6)


def test_the_values_are_those_of_the_formula() -> None:
    """Colours first, rows before columns, (x / 255 - mean) / std, float32."""
    photo = Image.new("RGB", (32, 20), (255, 0, 51))
    photo.putpixel((3, 7), (0, 255, 102))

    values = preprocess()(photo)

    assert (values.dtype, values.shape) == (torch.float32, (3, 20, 32))
    torch.testing.assert_close(values[:, 0, 0], torch.tensor([0.5 / 0.2, -0.4 / 0.3, -0.1 / 0.4]))
    torch.testing.assert_close(values[:, 7, 3], torch.tensor([-0.5 / 0.2, 0.6 / 0.3, 0.1 / 0.4]))


def test_a_model_with_grey_inputs_gets_one_channel() -> None:
    photo = photo_of(50, 40)
    grey = preprocess(mean=(0.5,), std=(0.25,))
    expected = np.asarray(photo.convert("L").resize((32, 20), Image.Resampling.BILINEAR))

    values = grey(photo)

    assert values.shape == (1, 20, 32)
    np.testing.assert_allclose(values[0], (expected / 255 - 0.5) / 0.25, atol=1e-6)
    assert grey.view(photo).mode == "RGB"
    np.testing.assert_array_equal(np.asarray(grey.view(photo))[..., 1], expected)
    np.testing.assert_array_equal(np.asarray(grey.unnormalise(values))[..., 2], expected)


@given(PREPROCESSES, SIZES)
def test_every_photo_fills_the_input_and_can_be_restored(
    how: Preprocess, photo_size: tuple[int, int]
) -> None:
    photo = photo_of(*photo_size)
    values, view = how(photo), how.view(photo)

    assert values.shape == (3, *how.size)
    assert view.size == how.size[::-1]
    np.testing.assert_array_equal(np.asarray(how.unnormalise(values)), np.asarray(view))


def test_the_jpeg_shows_the_view() -> None:
    photo = Image.new("RGB", (50, 40), (10, 200, 90))

    with Image.open(io.BytesIO(preprocess().jpeg(photo))) as shown:
        assert (shown.format, shown.size) == ("JPEG", (32, 20))
        assert np.abs(np.asarray(shown).astype(int) - (10, 200, 90)).max() <= 3


@pytest.mark.parametrize("photo_size", [(60_000, 1), (1, 60_000)])
def test_a_very_long_photo_needs_little_memory(photo_size: tuple[int, int]) -> None:
    """Resized whole to cover 1000 x 1000 it would have 60,000,000,000 pixels."""
    photo = Image.new("RGB", photo_size, (1, 2, 3))
    how = preprocess((1000, 1000), "resize_crop")

    assert how.view(photo).getcolors() == [(1000 * 1000, (1, 2, 3))]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "linear"])
def test_resampling_only_the_crop_gives_nearly_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch, interpolation: str
) -> None:
    """Beyond a size the resized photo is not built whole; both ways agree to one level of 255."""
    photo = photo_of(437, 251)
    how = preprocess((60, 48), "resize_crop", interpolation=interpolation)
    whole = np.asarray(how.view(photo)).astype(int)
    monkeypatch.setattr("scorecam.images.preprocess._RESIZED_WHOLE", 0)

    assert np.abs(np.asarray(how.view(photo)) - whole).max() <= 1


# ── positions ────────────────────────────────────────────────────────────────────────────────


@given(PREPROCESSES, SIZES)
def test_the_crop_is_in_the_centre_of_the_photo(
    how: Preprocess, photo_size: tuple[int, int]
) -> None:
    left, top, right, bottom = how.crop_box(photo_size)
    width, height = photo_size

    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    # Centred within half a pixel of the photo, or of the resized photo if that is coarser.
    assert abs(left + right - width) <= max(1, (right - left) / how.size[1]) + 1e-6
    assert abs(top + bottom - height) <= max(1, (bottom - top) / how.size[0]) + 1e-6


@pytest.mark.parametrize("fit", ["resize_crop", "crop_resize"])
@pytest.mark.parametrize(
    ("size", "photo_size", "expected"),
    [
        ((100, 100), (400, 200), (150, 50, 250, 150)),
        ((100, 100), (200, 400), (50, 150, 150, 250)),
        ((100, 50), (400, 200), (175, 50, 225, 150)),  # rows run out first
        ((50, 100), (200, 400), (50, 175, 150, 225)),  # columns run out first
        ((100, 50), (50, 400), (12.5, 175, 37.5, 225)),
    ],
)
def test_the_fraction_applies_to_the_limiting_side(
    fit: str, size: tuple[int, int], photo_size: tuple[int, int], expected: tuple[float, ...]
) -> None:
    box = preprocess(size, fit, fraction=0.5).crop_box(photo_size)

    assert box == pytest.approx(expected, abs=1)


@given(
    st.sampled_from(FITS),
    st.sampled_from([(40, 40), (40, 56), (56, 40)]),
    st.sampled_from([(200, 120), (120, 200), (170, 170)]),
    st.floats(0.6, 1),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_bright_block_is_in_its_box(
    fit: str,
    size: tuple[int, int],
    photo_size: tuple[int, int],
    fraction: float,
    where: tuple[float, float],
) -> None:
    """The centre of brightness in the input is the centre of the box, to a 20th of a pixel."""
    width, height = photo_size
    how = preprocess(size, fit, fraction=fraction)
    left, top, right, bottom = how.crop_box(photo_size)
    # At least eight pixels from the border. Pillow normalises the weights of each output pixel, so
    # the total of a much smaller block depends on its position.
    x = int(left + 8 + where[0] * (right - left - 32))
    y = int(top + 8 + where[1] * (bottom - top - 36))
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y : y + 20, x : x + 16] = 255
    boxes = torch.tensor([[x, y, x + 16, y + 20]])

    x1, y1, x2, y2 = how.boxes_to_input(boxes, photo_size)[0].tolist()
    brightness = np.asarray(how.view(Image.fromarray(pixels)))[..., 0].astype(float)
    rows, columns = np.indices(brightness.shape) + 0.5
    total = brightness.sum()

    assert total / 255 == pytest.approx((x2 - x1) * (y2 - y1), rel=0.02)
    assert (brightness * columns).sum() / total == pytest.approx((x1 + x2) / 2, abs=0.05)
    assert (brightness * rows).sum() / total == pytest.approx((y1 + y2) / 2, abs=0.05)


def test_boxes_are_clipped_to_the_view_of_the_model() -> None:
    """Of a 400 x 200 photo the model sees x in 150..250, y in 50..150, at a tenth of the size."""
    how = preprocess((10, 10), "crop_resize", fraction=0.5)
    boxes = [[0, 0, 400, 200], [160, 40, 180, 100], [0, 0, 100, 200], [250, 50, 400, 150]]
    expected = [[0, 0, 10, 10], [1, 0, 3, 5], [0, 0, 0, 10], [10, 0, 10, 10]]

    seen = how.boxes_to_input(np.array(boxes), (400, 200))

    assert seen.dtype == torch.float32
    torch.testing.assert_close(seen, torch.tensor(expected).float())
    assert how.boxes_to_input(torch.empty(0, 4), (400, 200)).shape == (0, 4)


@given(PREPROCESSES, SIZES, st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_a_share_of_the_crop_box_is_that_share_of_the_input(
    how: Preprocess, photo_size: tuple[int, int], corners: list[float]
) -> None:
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    height, width = how.size
    boxes = torch.tensor([[x1 * width, y1 * height, x2 * width, y2 * height]])
    left, top, right, bottom = how.crop_box(photo_size)
    across, down = right - left, bottom - top
    there = [[left + x1 * across, top + y1 * down, left + x2 * across, top + y2 * down]]

    seen = how.boxes_to_input(torch.tensor(there), photo_size)

    torch.testing.assert_close(seen, boxes, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("boxes", [torch.zeros(4), torch.zeros(2, 5), np.zeros((1, 2, 4))])
def test_boxes_of_another_shape_are_refused(boxes: Any) -> None:
    with pytest.raises(SettingError, match="four numbers"):
        preprocess().boxes_to_input(boxes, (40, 30))


@given(PREPROCESSES, SIZES)
def test_masks_are_mapped_like_the_photo(how: Preprocess, photo_size: tuple[int, int]) -> None:
    """Booleans equal the nearest filter, except for ties between two pixels."""
    width, height = photo_size
    left, top, right, bottom = box = how.crop_box(photo_size)
    mask = np.random.default_rng(0).random((height, width)) < 0.4
    drawn = Image.fromarray(mask.astype(np.uint8))
    drawn = drawn.resize(how.size[::-1], Image.Resampling.NEAREST, box=box)
    rows, columns = np.indices(how.size) + 0.5
    y = top + rows * (bottom - top) / how.size[0]
    x = left + columns * (right - left) / how.size[1]
    tied = np.minimum(abs(x - x.round()), abs(y - y.round())) < 1e-3

    seen = how.mask_to_input(mask)

    assert (seen.dtype, seen.shape) == (torch.bool, how.size)
    assert ((seen.numpy() == (np.asarray(drawn) > 0)) | tied).all()
    torch.testing.assert_close(how.mask_to_input(torch.from_numpy(mask)), seen)


def test_masks_of_floats_are_averaged() -> None:
    """Twelve rows become three: each is the average of the smoothing filter."""
    how = preprocess((3, 2), "squash")
    mask = np.zeros((12, 8))
    mask[4:8, :] = 1

    seen = how.mask_to_input(mask)

    assert seen.dtype == torch.float32
    torch.testing.assert_close(seen[:, 0], seen[:, 1])
    assert 0 < seen[0, 0] < 0.3
    assert 0.7 < seen[1, 0] < 1
    torch.testing.assert_close(seen[0], seen[2])


@given(PREPROCESSES, SIZES, st.floats(-3, 3))
def test_masks_of_floats_keep_their_range(
    how: Preprocess, photo_size: tuple[int, int], level: float
) -> None:
    flat = torch.full(photo_size[::-1], level, dtype=torch.float64)

    seen = how.mask_to_input(flat)

    torch.testing.assert_close(seen, torch.full(how.size, level), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "mask", [np.zeros((3, 4), int), np.zeros((3, 4, 1)), np.zeros((0, 4)), torch.zeros(4)]
)
def test_invalid_masks_are_refused(mask: Any) -> None:
    with pytest.raises(SettingError, match="mask"):
        preprocess().mask_to_input(mask)


# ── maps on the photo ────────────────────────────────────────────────────────────────────────


def test_a_map_of_the_photos_size_is_unchanged() -> None:
    heatmap = torch.rand(20, 32)

    laid = preprocess().to_photo(heatmap, (32, 20))

    torch.testing.assert_close(laid, heatmap)


def test_a_map_is_interpolated_between_centres() -> None:
    """Two columns on eight, by hand: centres at 2 and 6, constant beyond them."""
    how = preprocess((1, 2), "squash")

    laid = how.to_photo(torch.tensor([[0.0, 4.0]]), (8, 3))

    expected = torch.tensor([0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4])
    torch.testing.assert_close(laid, expected.expand(3, 8))


@pytest.mark.parametrize("photo_size", [(64, 50), (50, 64), (20, 33), (200, 31)])
def test_a_squashed_map_equals_torchs_bilinear_resize(photo_size: tuple[int, int]) -> None:
    heatmap = torch.rand(7, 9)
    expected = torch.nn.functional.interpolate(
        heatmap[None, None], size=photo_size[::-1], mode="bilinear", align_corners=False
    )

    laid = preprocess((7, 9)).to_photo(heatmap, photo_size)

    torch.testing.assert_close(laid, expected[0, 0])


def test_a_map_is_zero_outside_the_crop() -> None:
    """Of a 40 x 20 photo the model sees x in 15..25 and y in 5..15."""
    how = preprocess((10, 10), "crop_resize", fraction=0.5)
    expected = torch.zeros(20, 40)
    expected[5:15, 15:25] = 1

    torch.testing.assert_close(how.to_photo(torch.ones(10, 10), (40, 20)), expected)


@given(PREPROCESSES, SIZES)
def test_a_flat_map_covers_exactly_the_crop(how: Preprocess, photo_size: tuple[int, int]) -> None:
    laid = how.to_photo(torch.full(how.size, 0.7), photo_size)
    left, top, right, bottom = how.crop_box(photo_size)
    rows, columns = laid.any(dim=1).nonzero().flatten(), laid.any(dim=0).nonzero().flatten()

    assert laid.shape == photo_size[::-1]
    assert ((laid == 0) | ((laid - 0.7).abs() < 1e-6)).all()
    assert rows.tolist() == list(range(math.floor(top + 1e-6), math.ceil(bottom - 1e-6)))
    assert columns.tolist() == list(range(math.floor(left + 1e-6), math.ceil(right - 1e-6)))


@given(
    st.sampled_from(FITS),
    st.sampled_from([(12, 12), (12, 17), (17, 12)]),
    st.tuples(st.integers(60, 200), st.integers(60, 200)),
    st.floats(0.5, 1),
)
def test_a_linear_map_stays_linear_on_the_photo(
    fit: str, size: tuple[int, int], photo_size: tuple[int, int], fraction: float
) -> None:
    """A map of x coordinates stays x on the photo: no shift, stretch or swap."""
    how = preprocess(size, fit, fraction=fraction)
    height, width = size
    left, top, right, bottom = how.crop_box(photo_size)
    x_of_map = left + (torch.arange(width) + 0.5) * (right - left) / width
    y_of_map = top + (torch.arange(height) + 0.5) * (bottom - top) / height
    x_margin, y_margin = (right - left) / width, (bottom - top) / height  # flat at the border
    inside = np.s_[
        math.ceil(top + y_margin) : math.floor(bottom - y_margin),
        math.ceil(left + x_margin) : math.floor(right - x_margin),
    ]
    y_of_photo, x_of_photo = np.indices(photo_size[::-1]) + 0.5

    x_laid = how.to_photo(x_of_map.expand(size), photo_size)
    y_laid = how.to_photo(y_of_map[:, None].expand(size), photo_size)

    np.testing.assert_allclose(x_laid[inside], x_of_photo[inside], rtol=1e-5)
    np.testing.assert_allclose(y_laid[inside], y_of_photo[inside], rtol=1e-5)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("photo_size", [(240, 160), (160, 240)])
def test_a_smooth_map_survives_the_round_trip(fit: str, photo_size: tuple[int, int]) -> None:
    how = preprocess((40, 56), fit)
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(56.0), indexing="ij")
    blob = torch.exp(-((rows - 12) ** 2 / 60 + (columns - 40) ** 2 / 90))

    back = how.mask_to_input(how.to_photo(blob, photo_size))

    assert (back - blob).abs().max() < 0.05


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(SettingError, match=r"\(32, 20\)"):
        preprocess().to_photo(torch.zeros(32, 20), (40, 30))


# ── the record ───────────────────────────────────────────────────────────────────────────────


@given(PREPROCESSES)
def test_a_preprocess_survives_a_json_round_trip(how: Preprocess) -> None:
    assert Preprocess.from_dict(json.loads(json.dumps(how.to_dict()))) == how


def test_records_of_older_versions_stay_the_same() -> None:
    """The three newer fields appear only when they are used."""
    older = {"size", "fit", "fraction", "mean", "std", "interpolation"}
    new = preprocess(fit="letterbox", channels="bgr", padding=0, anchor="top_left")

    assert set(Preprocess.imagenet().to_dict()) == set(Preprocess.yolo().to_dict()) == older
    assert set(new.to_dict()) == older | {"channels", "padding", "anchor"}
    assert Preprocess.from_dict(new.to_dict()) == new


@pytest.mark.parametrize(
    "how",
    [Preprocess.imagenet(), Preprocess.lite(240), Preprocess.yolo(), preprocess(channels="bgr")],
)
def test_a_preprocess_is_loaded_from_its_file(tmp_path: Path, how: Preprocess) -> None:
    path = tmp_path / "preprocess.json"
    path.write_text(json.dumps(how.to_dict()), encoding="utf-8")

    assert Preprocess.load(path) == Preprocess.load(str(path)) == how


def test_imagenet_is_loaded_by_name() -> None:
    assert Preprocess.load("imagenet") == Preprocess.imagenet(224)
    assert Preprocess.imagenet().crop_box((256, 256)) == (16, 16, 240, 240)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": 224}, "`size`"),
        ({"size": [224]}, "`size`"),
        ({"size": [224, 0]}, "`size`"),
        ({"size": [224, 224.0]}, "`size`"),
        ({"size": [224, True]}, "`size`"),
        ({"size": [2**20, 2**20]}, "`size`"),
        ({"fit": "crop"}, "Did you mean"),
        ({"fit": None}, "`fit`"),
        ({"fit": ["squash"]}, "`fit`"),
        ({"fraction": 0}, "`fraction`"),
        ({"fraction": 1.5}, "`fraction`"),
        ({"fraction": math.nan}, "`fraction`"),
        ({"fraction": "0.875"}, "`fraction`"),
        ({"fraction": 10**400}, "`fraction`"),
        ({"mean": [123.7, 116.3, 103.5]}, "by 255"),
        ({"mean": [0.5, 0.5]}, "`mean`"),
        ({"mean": 0.5}, "`mean`"),
        ({"mean": [0.5, "x", 0.5]}, "`mean`"),
        ({"mean": [0.5]}, "differ in length"),
        ({"std": [0.5, 0.0, 0.5]}, "`std`"),
        ({"std": [0.5, -1, 0.5]}, "`std`"),
        ({"std": [math.inf] * 3}, "`std`"),
        ({"interpolation": "cubic"}, "Did you mean 'bicubic'"),
        ({"channels": "gbr"}, "Did you mean"),
        ({"channels": 3}, "`channels`"),
        ({"channels": "bgr", "mean": [0.5], "std": [0.5]}, "length of `mean` is 1"),
        ({"padding": 114}, "by 255"),
        ({"padding": True}, "`padding`"),
        ({"padding": math.nan}, "`padding`"),
        ({"padding": [0.5, 0.5, 0.5]}, "`padding`"),
        ({"anchor": "center"}, "Did you mean 'centre'"),
        ({"anchor": None}, "`anchor`"),
        ({"crop": 224}, "no `crop`"),
        ({"interpolatoin": "bicubic"}, "Did you mean 'interpolation'"),
    ],
)
def test_invalid_values_are_named_in_the_error(change: dict[str, object], says: str) -> None:
    with pytest.raises(SettingError) as caught:
        Preprocess.from_dict(Preprocess.imagenet().to_dict() | change)

    assert says in str(caught.value)


@pytest.mark.parametrize("key", ["size", "fit", "mean", "std"])
def test_missing_keys_are_named_in_the_error(key: str) -> None:
    values = Preprocess.imagenet().to_dict()
    del values[key]

    with pytest.raises(SettingError, match=f"lacks `{key}`"):
        Preprocess.from_dict(values)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '"imagenet"', b"\xff\xfe\x00"])
def test_a_file_without_preprocessing_is_refused(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "preprocess.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(SettingError, match="reprocessing"):
        Preprocess.load(path)


@pytest.mark.parametrize("name", ["imagnet", "no/such.json", "."])
def test_a_missing_preprocessing_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        Preprocess.load(name)
