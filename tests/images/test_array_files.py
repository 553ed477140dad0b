"""Files of numbers: NumPy, safetensors and TIFF; what becomes of their axes and values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from array_files import MARKED, corners, marked
from scorecam.images.arrays.array_file import ArrayFile, fitted, with_channels
from scorecam.images.arrays.bands import select_bands
from scorecam.images.arrays.opening import is_array_file, read_array
from scorecam.images.arrays.window import windowed
from scorecam.images.photo import read as read_photo


def stack(bands: int = 5) -> Any:
    """Bands that differ: the corners of band n are n times those of the first."""
    return np.stack([marked() * (band + 1) for band in range(bands)])


def write_tiff(path: Path, array: Any, **options: Any) -> Path:
    import tifffile

    tifffile.imwrite(path, array, **options)
    return path


# ── NumPy and safetensors ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", ["?", "u1", ">u2", "<i4", "i8", "f2", ">f4", "f8"])
def test_an_array_keeps_its_axes_and_values(dtype: str, tmp_path: Path) -> None:
    array = np.asfortranarray(np.random.default_rng(0).integers(0, 2, (3, 4, 5)).astype(dtype))
    np.save(tmp_path / "a.npy", array)

    file = read_array(tmp_path / "a.npy")

    assert file.values.dtype == torch.float32
    assert torch.equal(file.values, torch.from_numpy(array.astype(np.float32)))
    assert not file.has_channels
    assert file.remarks == ()


@pytest.mark.parametrize(("dtype", "levels"), [("u1", (0, 255)), ("?", (0, 1)), ("u2", None)])
def test_only_some_types_state_black_and_white(dtype: str, levels: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", marked(dtype=dtype))
    assert read_array(tmp_path / "a.npy").levels == levels


def test_integers_that_float32_rounds_are_remarked(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([2**24 + 1, 3]))
    assert read_array(tmp_path / "a.npy").remarks == (
        "a.npy has integers beyond 16,777,216; they are rounded to float32.",
    )


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_with_one_array_needs_no_key(save: Any, tmp_path: Path) -> None:
    save(tmp_path / "a.npz", picture=marked())
    file = read_array(tmp_path / "a.npz")
    assert corners(file.values) == MARKED
    assert file.name == "a.npz"


def test_a_key_chooses_an_array_of_an_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", first=np.zeros(3), second=marked())
    for file in (
        read_array(f"{tmp_path}/a.npz:second"),
        read_array(tmp_path / "a.npz", key="second"),
    ):
        assert corners(file.values) == MARKED
        assert file.name == "a.npz:second"


def test_a_colon_in_the_name_of_a_file_is_no_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", first=np.zeros(3))
    np.save(tmp_path / "a.npz:first.npy", marked())
    assert corners(read_array(f"{tmp_path}/a.npz:first.npy").values) == MARKED


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64])
def test_a_tensor_is_read_from_safetensors(dtype: torch.dtype, tmp_path: Path) -> None:
    picture = torch.from_numpy(marked().astype(np.int64)).to(dtype)
    safetensors.torch.save_file({"x": picture, "y": picture + 1}, tmp_path / "a.safetensors")
    assert corners(read_array(f"{tmp_path}/a.safetensors:x").values) == MARKED
    assert read_array(f"{tmp_path}/a.safetensors:y").values[1, 1] == 1


# ── axes ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("stored", "result"),
    [((9,), (1, 9)), ((4, 9), (1, 4, 9)), ((2, 4, 9), (2, 4, 9)), ((1, 2, 4, 9), (1, 2, 4, 9))],
)
def test_channels_are_added_to_signals_and_pictures(stored: Any, result: Any) -> None:
    assert with_channels(unnamed(*stored)).values.shape == result


@pytest.mark.parametrize(
    ("stored", "axes", "result"),
    [
        ((22, 90), 2, (22, 90)),
        ((22, 90), 3, (1, 22, 90)),
        ((1, 3, 5, 6), 3, (3, 5, 6)),
        ((9,), 2, (1, 9)),
    ],
)
def test_an_array_is_fitted_to_the_axes_of_a_network(stored: Any, axes: int, result: Any) -> None:
    file = fitted(unnamed(*stored), axes)
    assert file.values.shape == result
    assert file.has_channels


def unnamed(*shape: int) -> ArrayFile:
    return ArrayFile(torch.zeros(shape), "a.npy", has_channels=False)


# ── TIFF ─────────────────────────────────────────────────────────────────────────────────────

LAYOUTS = {
    "pages": (stack(), {}),
    "pages without metadata": (stack(), {"metadata": None}),
    "samples apart": (stack(), {"planarconfig": "separate"}),
    "samples together": (stack().transpose(1, 2, 0), {"planarconfig": "contig"}),
    "tiles": (stack(), {"tile": (16, 16)}),
    "deflate": (stack(), {"compression": "zlib", "predictor": 2}),
    "big-endian": (stack(), {"byteorder": ">"}),
    "BigTIFF": (stack(), {"bigtiff": True}),
}


@pytest.mark.needs("tiff")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_five_bands_of_sixteen_bits_come_first(layout: str, tmp_path: Path) -> None:
    array, options = LAYOUTS[layout]
    path = write_tiff(tmp_path / "a.tif", array, photometric="minisblack", **options)

    file = read_array(path)

    assert file.values.shape == (5, 5, 7)
    assert corners(file.values[0]) == MARKED
    assert torch.equal(file.values, torch.from_numpy(stack().astype(np.float32)))
    assert file.remarks == ()
    assert is_array_file(path)


@pytest.mark.needs("tiff")
@pytest.mark.parametrize(
    ("axes", "options", "shape"),
    [
        ("ZYX", {"ome": True}, (1, 5, 5, 7)),
        ("CYX", {"ome": True}, (5, 5, 7)),
        ("ZYX", {"imagej": True}, (1, 5, 5, 7)),
    ],
)
def test_the_named_axes_of_a_stack_are_used(
    axes: str, options: Any, shape: Any, tmp_path: Path
) -> None:
    path = write_tiff(tmp_path / "a.tif", stack(), metadata={"axes": axes}, **options)
    file = read_array(path)
    assert file.values.shape == shape
    assert corners(file.values.reshape(5, 5, 7)[1]) == tuple(2 * value for value in MARKED)


@pytest.mark.needs("tiff")
def test_slices_of_several_channels_have_channels_first(tmp_path: Path) -> None:
    array = np.arange(3 * 2 * 4 * 5, dtype=np.uint16).reshape(3, 2, 4, 5)
    path = write_tiff(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "ZCYX"})
    expected = array.transpose(1, 0, 2, 3).astype(np.float32)
    assert torch.equal(read_array(path).values, torch.from_numpy(expected))


@pytest.mark.needs("tiff")
def test_a_recording_is_read_as_slices_with_a_remark(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", stack(), imagej=True, metadata={"axes": "TYX"})
    file = read_array(path)
    assert file.values.shape == (1, 5, 5, 7)
    assert file.remarks == ("a.tif is a series in time; its points in time are read as slices.",)


@pytest.mark.needs("tiff")
def test_of_pages_in_colour_the_first_is_read_with_a_remark(tmp_path: Path) -> None:
    pages = np.zeros((4, 6, 7, 3), np.uint8)
    pages[0, 0, -1, 2] = 9
    file = read_array(write_tiff(tmp_path / "a.tif", pages, photometric="rgb"))
    assert file.values.shape == (3, 6, 7)
    assert file.values[2, 0, -1] == 9
    assert file.remarks == ("a.tif has 4 pages in colour; only the first is read.",)


@pytest.mark.needs("tiff")
def test_of_several_series_the_first_is_read_with_a_remark(tmp_path: Path) -> None:
    import tifffile

    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(stack(), photometric="minisblack")
        writer.write(marked(3, 3))
    file = read_array(tmp_path / "a.tif")
    assert file.values.shape == (5, 5, 7)
    assert file.remarks == ("a.tif has 2 series of pages; only the first is read.",)


@pytest.mark.needs("tiff")
def test_floats_keep_their_values(tmp_path: Path) -> None:
    picture = marked(dtype=np.float32) - 70.5
    file = read_array(write_tiff(tmp_path / "a.tif", picture))
    assert torch.equal(file.values[0], torch.from_numpy(picture))
    assert file.levels is None


@pytest.mark.needs("tiff")
def test_a_stated_depth_of_twelve_bits_becomes_the_levels(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", marked(), extratags=[(281, "H", 1, 4095, True)])
    assert read_array(path).levels == (0, 4095)
    assert read_array(write_tiff(tmp_path / "b.tif", marked())).levels is None


@pytest.mark.needs("tiff")
def test_a_picture_whose_zero_is_white_is_inverted_with_a_remark(tmp_path: Path) -> None:
    file = read_array(write_tiff(tmp_path / "a.tif", marked(), photometric="miniswhite"))
    assert corners(65535 - file.values[0]) == MARKED
    assert file.remarks == ("In a.tif, 0 is white; its values are subtracted from 65535.",)


@pytest.mark.needs("tiff")
@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (2, lambda picture: picture[:, ::-1]),
        (3, lambda picture: picture[::-1, ::-1]),
        (4, lambda picture: picture[::-1]),
        (5, lambda picture: picture.T),
        (6, np.rot90),
        (7, lambda picture: picture[::-1, ::-1].T),
        (8, lambda picture: np.rot90(picture, -1)),
    ],
)
def test_a_turned_picture_is_read_as_a_photo_is(
    orientation: int, stored: Any, tmp_path: Path
) -> None:
    picture = np.ascontiguousarray(stored(marked(dtype=np.uint8)))
    path = write_tiff(tmp_path / "a.tif", picture, extratags=[(274, "H", 1, orientation, True)])

    file = read_array(path)
    photo = np.asarray(read_photo(path).image)[..., 0]

    assert corners(file.values[0]) == MARKED
    assert torch.equal(file.values[0], torch.from_numpy(photo.astype(np.float32)))
    assert "turned upright" in file.remarks[0]


@pytest.mark.needs("tiff")
def test_values_without_data_are_counted(tmp_path: Path) -> None:
    path = write_tiff(
        tmp_path / "a.tif", np.float32(marked()), extratags=[(42113, "s", 0, "200", True)]
    )
    assert read_array(path).remarks == ("a.tif has 1 of 35 values without data, stored as 200.",)


@pytest.mark.needs("tiff")
def test_parts_in_other_files_are_not_opened(tmp_path: Path, monkeypatch: Any) -> None:
    import tifffile

    monkeypatch.chdir(tmp_path)
    write_tiff(Path("other.tif"), marked() + 1, photometric="minisblack")
    write_tiff(Path("a.ome.tif"), stack(2), photometric="minisblack", metadata={"axes": "ZYX"})
    text = tifffile.tiffcomment("a.ome.tif")
    uuid = '<TiffData IFD="0" FirstZ="{0}"><UUID FileName="{1}">urn:uuid:{0}</UUID></TiffData>'
    parts = uuid.format(0, "a.ome.tif") + uuid.format(1, "other.tif")
    start, end = text.index("<TiffData"), text.index("</Pixels>")
    tifffile.tiffcomment("a.ome.tif", (text[:start] + parts + text[end:]).encode())

    file = read_array("a.ome.tif")

    assert torch.equal(file.values, torch.from_numpy(np.float32(stack(2))))
    assert file.remarks == (
        "a.ome.tif may be a part of a set of files; only its own pages are read.",
    )


# ── photos stay photos ───────────────────────────────────────────────────────────────────────


def photos(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (8, 9, 3), np.uint8))
    grey, deep = rgb.convert("L"), Image.fromarray(marked())
    palette = rgb.quantize(8)
    for name in ("rgb.tif", "rgb.png", "rgb.jpg", "rgb.bmp", "rgb.webp"):
        rgb.save(folder / name)
    palette.save(folder / "palette.png")
    palette.save(folder / "palette.tif", save_all=True, append_images=[palette])
    rgb.convert("RGBA").save(folder / "alpha.tif")
    grey.save(folder / "grey.tif")
    deep.save(folder / "deep.tif")
    rgb.save(folder / "pages.tif", save_all=True, append_images=[rgb])
    grey.save(folder / "sizes.tif", save_all=True, append_images=[grey.resize((3, 3))])
    return sorted(folder.iterdir())


def test_photos_of_every_kind_stay_photos(tmp_path: Path) -> None:
    paths = photos(tmp_path)
    assert len(paths) == 12
    assert [path.name for path in paths if is_array_file(path)] == []
    for path in paths:
        read_photo(path)


@pytest.mark.needs("tiff")
def test_a_photo_in_tiff_has_the_same_pixels_as_an_array(tmp_path: Path) -> None:
    photos(tmp_path)
    photo = np.asarray(read_photo(tmp_path / "rgb.tif").image, np.float32).transpose(2, 0, 1)
    file = read_array(tmp_path / "rgb.tif")
    assert torch.equal(file.values, torch.from_numpy(photo))
    assert file.levels == (0, 255)


def test_a_photo_with_the_suffix_of_an_array_stays_a_photo(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.npy")
    assert not is_array_file(tmp_path / "a.npy")


@pytest.mark.parametrize("source", ["missing.npy", None, 3, b"a.npy", "a\0.npy", "", "."])
def test_what_cannot_be_opened_is_not_an_array_file(source: Any) -> None:
    assert not is_array_file(source)


@pytest.mark.needs("tiff")
def test_colours_of_sixteen_bits_stay_a_photo_if_pillow_reads_them(tmp_path: Path) -> None:
    colours = np.full((4, 5, 3), 2**15, np.uint16)
    together = write_tiff(tmp_path / "a.tif", colours, photometric="rgb")
    apart = write_tiff(
        tmp_path / "b.tif", colours.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"
    )
    assert not is_array_file(together)
    assert read_photo(together).image.getpixel((0, 0)) == (128, 128, 128)
    assert is_array_file(apart)


@pytest.mark.needs("tiff")
@pytest.mark.parametrize("compression", ["lzw", "zstd", "deflate", "packbits"])
def test_compressed_bands_have_the_same_values(compression: str, tmp_path: Path) -> None:
    plain = write_tiff(tmp_path / "plain.tif", stack(), photometric="minisblack")
    packed = write_tiff(
        tmp_path / "packed.tif", stack(), photometric="minisblack", compression=compression
    )
    assert torch.equal(read_array(packed).values, read_array(plain).values)


# ── bands and windows ────────────────────────────────────────────────────────────────────────


def test_bands_are_counted_from_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", stack())
    file = read_array(tmp_path / "a.npy", bands=[4, 1, 1])
    assert [corner[0, 0] for corner in file.values] == [4 * MARKED[0], MARKED[0], MARKED[0]]


def test_a_picture_without_channels_has_one_band(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", marked())
    assert read_array(tmp_path / "a.npy", bands=[1, 1, 1]).values.shape == (3, 5, 7)


def test_bands_keep_what_the_file_states() -> None:
    file = ArrayFile(torch.zeros(2, 3, 4), "a", levels=(0, 9), spacing=(1, 2), remarks=("One.",))
    chosen = select_bands(file, (2,))
    assert (chosen.levels, chosen.spacing, chosen.remarks) == ((0, 9), (1, 2), ("One.",))


def test_a_window_maps_its_ends_to_black_and_white() -> None:
    file = ArrayFile(torch.tensor([[-9.0, 100, 150, 300, 999]]), "a", levels=(0, 1000))
    assert windowed(file, (100, 300)).values.tolist() == [[0, 0, 0.25, 1, 1]]
    assert windowed(file, (100, 300)).levels == (0, 1)
    assert windowed(file).values[0, 3] == pytest.approx(0.3)
    assert file.values[0, 0] == -9


def test_a_window_that_misses_all_values_is_remarked() -> None:
    file = ArrayFile(torch.tensor([[1.0, 2.0]]), "a.tif")
    assert windowed(file, (100, 300)).remarks == (
        "All values of a.tif are black in the window from 100 to 300: they run from 1 to 2.",
    )
    assert "are white" in windowed(file, (-3, 0.5)).remarks[0]
