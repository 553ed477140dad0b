"""Files of numbers as inputs of a model: bands, windows, and the place of the map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import scorecam
from scorecam.images.input_files import read_input
from scorecam.images.reading import Reading

FIVE = scorecam.Preprocess(
    size=(24, 24), fit="squash", mean=(0.1, 0.2, 0.3, 0.4, 0.5), std=(0.5,) * 5
)
RGB = scorecam.Preprocess(size=(24, 24), fit="squash", mean=(0.5,) * 3, std=(0.25,) * 3)


def saved(folder: Path, values: np.ndarray, name: str = "x.npy") -> Path:
    path = folder / name
    np.save(path, values)
    return path


def classifier(colours: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(colours, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 3),
    ).eval()  # fmt: skip


# ── values ───────────────────────────────────────────────────────────────────────────────────────


def test_five_bands_are_scaled_by_the_window_and_normalised(tmp_path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (5, 24, 24)).astype(np.uint16)

    found = read_input(saved(tmp_path, values), FIVE, Reading(window=(0, 4095)))

    mean = torch.tensor(FIVE.mean)[:, None, None]
    expected = (torch.as_tensor(values.astype(np.float32)) / 4095 - mean) / 0.5
    assert torch.allclose(found.image, expected, atol=1e-6)
    assert found.photo is not None
    assert found.photo.size == (24, 24)


def test_bands_become_the_colours_in_their_order(tmp_path) -> None:
    values = np.stack([np.full((24, 24), level, np.float32) for level in (0.1, 0.2, 0.3, 0.4)])

    found = read_input(saved(tmp_path, values), RGB, Reading(bands=(4, 3, 2)))

    expected = (torch.tensor([0.4, 0.3, 0.2]) - 0.5) / 0.25
    assert torch.allclose(found.image.mean(dim=(1, 2)), expected, atol=1e-6)


def test_a_single_band_serves_for_all_colours(tmp_path) -> None:
    found = read_input(saved(tmp_path, np.random.default_rng(0).random((24, 24))), RGB)

    assert found.image.shape == (3, 24, 24)
    assert torch.equal(found.image[0], found.image[2])


def test_numbers_are_resized_as_photos_are(tmp_path) -> None:
    """A picture of 8 bits gives the same input as a photo and as numbers, within their rounding."""
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    preprocess = scorecam.Preprocess.imagenet(24)

    as_photo = read_input(photo, preprocess).image
    stored = saved(tmp_path, photo.transpose(2, 0, 1))
    as_numbers = read_input(stored, preprocess, Reading(window=(0, 255))).image

    rounding = 1 / 255 / 0.224
    assert (as_photo - as_numbers).abs().max() <= rounding


def test_without_preprocessing_numbers_are_used_as_stored(tmp_path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 20, 24)).astype(np.float32)
    model = scorecam.open_model(classifier(3))

    found = scorecam.explain(model, saved(tmp_path, values), runtime="eager")
    expected = scorecam.explain(model, torch.as_tensor(values), runtime="eager")

    assert torch.equal(found.heatmap, expected.heatmap)
    assert found.photo is None


def test_an_array_without_colours_is_one_channel_of_the_network(tmp_path) -> None:
    values = np.random.default_rng(0).normal(size=(20, 24)).astype(np.float32)
    model = scorecam.open_model(classifier(1))

    found = scorecam.explain(model, saved(tmp_path, values), runtime="eager")

    assert found.heatmap.shape == (20, 24)


def test_a_window_also_scales_numbers_that_are_used_as_stored(tmp_path) -> None:
    values = np.linspace(-1000, 3000, 64).reshape(1, 8, 8)

    found = read_input(saved(tmp_path, values), None, Reading(window=(0, 2000)))

    assert float(found.image.min()) == 0
    assert float(found.image.max()) == 1


# ── places ───────────────────────────────────────────────────────────────────────────────────────


def test_the_map_is_on_the_planted_corner_of_the_file(tmp_path) -> None:
    network = nn.Sequential(
        nn.Conv2d(5, 1, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    nn.init.ones_(network[0].weight)
    values = np.zeros((5, 60, 100), np.float32)
    values[:, :15, 75:] = 1
    flat = scorecam.Preprocess(size=(24, 40), fit="squash", mean=(0.0,) * 5, std=(1.0,) * 5)
    model = scorecam.open_model(network, preprocess=flat, head="value")

    explanation = scorecam.explain(
        model, saved(tmp_path, values), layer="1", variant="official", runtime="eager"
    )

    on_file = explanation.on_photo()
    assert on_file.shape == (60, 100)
    assert on_file[:16, 74:].sum() > 0.98 * on_file.sum()


# ── errors and remarks ───────────────────────────────────────────────────────────────────────────


def test_unknown_levels_are_refused_with_the_option_to_give(tmp_path) -> None:
    path = saved(tmp_path, np.linspace(5, 900, 64).reshape(8, 8))

    with pytest.raises(scorecam.PhotoError, match=r"--window 5,900"):
        read_input(path, RGB)


def test_another_number_of_bands_is_refused_with_the_option(tmp_path) -> None:
    path = saved(tmp_path, np.random.default_rng(0).random((4, 8, 8)))

    with pytest.raises(scorecam.PhotoError, match=r"--bands 1,2,3"):
        read_input(path, RGB)


def test_colours_that_come_last_are_refused_with_the_transpose(tmp_path) -> None:
    path = saved(tmp_path, np.random.default_rng(0).random((16, 20, 3)))

    with pytest.raises(scorecam.PhotoError, match=r"transpose\(2, 0, 1\)"):
        read_input(path, RGB)


def test_a_volume_for_a_photo_preprocessing_is_refused(tmp_path) -> None:
    path = saved(tmp_path, np.random.default_rng(0).random((1, 8, 8, 8)))

    with pytest.raises(scorecam.PhotoError, match="not a picture"):
        read_input(path, RGB)


def test_a_photo_for_a_model_of_five_bands_is_refused() -> None:
    with pytest.raises(scorecam.PhotoError, match="5 bands"):
        read_input(Image.new("RGB", (30, 30)), FIVE)


def test_a_picture_of_some_bands_says_which(tmp_path) -> None:
    path = saved(tmp_path, np.random.default_rng(0).random((5, 8, 8)))

    assert any("bands 1, 2 and 3 of 5" in remark for remark in read_input(path, FIVE).remarks)


def test_the_values_of_black_and_white_are_stated(tmp_path) -> None:
    path = saved(tmp_path, np.linspace(5, 900, 64).reshape(8, 8))
    bytes_of = saved(tmp_path, np.arange(64, dtype=np.uint8).reshape(8, 8), "y.npy")

    remarks = read_input(path, RGB, Reading(window=(0, 1000))).remarks

    assert "In x.npy, 0 is black and 1000 is white." in remarks
    assert read_input(bytes_of, RGB).remarks == ()


def test_without_preprocessing_a_photo_is_refused(tmp_path) -> None:
    path = tmp_path / "x.png"
    Image.new("RGB", (8, 8)).save(path)

    with pytest.raises(scorecam.PhotoError, match="preprocess"):
        scorecam.explain(classifier(3), path)


def test_bands_of_a_photo_without_bands_are_refused(tmp_path) -> None:
    path = tmp_path / "x.jpg"
    Image.new("RGB", (8, 8)).save(path)

    with pytest.raises(scorecam.PhotoError, match="not a file of numbers"):
        read_input(path, RGB, Reading(bands=(1,)))


@pytest.mark.parametrize("bands", [(), (0,), (1.5,), "abc", (True,)])
def test_wrong_bands_are_refused(bands) -> None:
    with pytest.raises(scorecam.SettingError, match="counted from 1"):
        Reading(bands=bands)


@pytest.mark.parametrize("window", [(1, 1), (2, 1), (0, float("nan")), (0,), "ab"])
def test_wrong_windows_are_refused(window) -> None:
    with pytest.raises(scorecam.SettingError):
        Reading(window=window)
