"""Boxes and regions in a bank and in its file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

import scorecam
from bank_files import read_parts, small_bank, with_places
from command_line import scorecam as command
from scorecam.bank import storage
from scorecam.images.region import OUTLINE


def bank_of(size: tuple[int, ...]) -> scorecam.ScoreBank:
    """A bank of an image with these axes, on a grid of two cells per axis."""
    grid = (2,) * len(size)
    maps = torch.rand(8, *grid, generator=torch.Generator().manual_seed(5))
    return with_places(dataclasses.replace(small_bank(), activations=maps, size=size))


@pytest.mark.parametrize("size", [(24, 40), (37,), (5, 6, 7), (1, 1)])
def test_boxes_and_regions_survive_a_file_unchanged(tmp_path: Path, size: tuple[int, ...]) -> None:
    bank = bank_of(size)
    assert bank.boxes is not None
    assert bank.masks is not None
    bank.save(tmp_path / "bank.safetensors")
    loaded = scorecam.ScoreBank.load(tmp_path / "bank.safetensors")

    assert loaded.boxes is not None
    assert loaded.masks is not None
    torch.testing.assert_close(loaded.boxes, bank.boxes, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(loaded.masks, bank.masks)
    loaded.save(tmp_path / "again.safetensors")
    again, first = (tmp_path / f"{name}.safetensors" for name in ("again", "bank"))
    assert again.read_bytes() == first.read_bytes()


def test_a_region_takes_one_bit_per_pixel(tmp_path: Path) -> None:
    with_places(small_bank()).save(tmp_path / "bank.safetensors")
    _, tensors = read_parts(tmp_path / "bank.safetensors")
    assert tensors["masks"].nbytes == 5 * 24 * 40 // 8


def test_fewer_columns_keep_the_places_of_all(tmp_path: Path) -> None:
    bank = with_places(small_bank())
    bank.save(tmp_path / "bank.safetensors", classes=["b", "d"])
    loaded = scorecam.ScoreBank.load(tmp_path / "bank.safetensors")
    assert bank.boxes is not None
    assert loaded.boxes is not None
    assert torch.equal(loaded.boxes[3], bank.boxes[3])
    assert scorecam.Explanation(loaded, loaded.target("d"), loaded.variant()).region is not None


def test_a_file_without_places_loads_without_them(tmp_path: Path) -> None:
    small_bank().save(tmp_path / "bank.safetensors")
    assert {"boxes", "masks"}.isdisjoint(read_parts(tmp_path / "bank.safetensors")[1])
    loaded = scorecam.ScoreBank.load(tmp_path / "bank.safetensors")
    assert loaded.boxes is loaded.masks is None


def test_a_bank_with_an_infinite_box_is_not_saved(tmp_path: Path) -> None:
    bank = with_places(small_bank())
    assert bank.boxes is not None
    bank.boxes[2, 1] = float("inf")
    with pytest.raises(scorecam.BankError, match="its boxes hold infinity"):
        bank.save(tmp_path / "bank.safetensors")


@pytest.mark.parametrize("count", [1, 7, 8, 9, 100])
def test_bits_beyond_the_last_pixel_are_refused(count: int) -> None:
    packed = storage.pack_bits(torch.ones(count, dtype=torch.bool))
    assert storage.unpack_bits(packed, (count,)).all()
    if count % 8:
        packed[-1] = 255
        with pytest.raises(ValueError, match="more pixels"):
            storage.unpack_bits(packed, (count,))


def test_show_draws_the_box_from_the_bank_alone(tmp_path: Path) -> None:
    from PIL import Image, ImageColor

    boxes = torch.full((5, 4), torch.nan)
    boxes[1] = torch.tensor([10.0, 6.0, 30.0, 18.0])
    bank = dataclasses.replace(small_bank(), boxes=boxes)
    bank.save(tmp_path / "bank.safetensors")
    blue = ImageColor.getrgb(OUTLINE)
    counts: dict[str, int] = {}
    for name in ("b", "c"):
        out = tmp_path / f"{name}.png"
        command("show", str(tmp_path / "bank.safetensors"), "--target", name, "--out", str(out))
        colours = Image.open(out).convert("RGB").getcolors(2**20)
        counts[name] = {colour: n for n, colour in colours or []}.get(blue, 0)
    assert counts["b"] > 500
    assert counts["c"] == 0
