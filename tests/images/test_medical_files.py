"""NIfTI and DICOM: the values, the order of voxels and slices, and what the header states."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from array_files import MARKED, corners, marked, write_dicom, write_slice
from scorecam.images.arrays.opening import is_array_file, read_array
from scorecam.images.arrays.window import windowed

pytestmark = pytest.mark.needs("medical")

LEFT_HANDED = np.array([[-2.0, 0, 0, 90], [0, 3, 0, -60], [0, 0, 4, -10], [0, 0, 0, 1]])
"""i runs to the left, as in many scanners' files."""


def volume() -> Any:
    return np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)


def write_nifti(path: Path, array: Any, affine: Any = LEFT_HANDED, **scale: float) -> Path:
    import nibabel

    image = nibabel.Nifti1Image(array, affine)
    if scale:
        image.header.set_slope_inter(scale["slope"], scale["intercept"])
    nibabel.save(image, path)
    return path


# ── NIfTI ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_keep_their_stored_order(name: str, tmp_path: Path) -> None:
    file = read_array(write_nifti(tmp_path / name, volume()))

    assert is_array_file(tmp_path / name)
    assert torch.equal(file.values, torch.from_numpy(volume().astype(np.float32))[None])
    assert file.spacing == (2, 3, 4)
    assert file.orientation == (
        "i runs to the patient's left, j runs to the patient's front, k runs to the patient's head."
    )
    assert file.remarks == ()


def test_the_affine_of_a_flipped_volume_leads_to_the_planted_place(tmp_path: Path) -> None:
    right_handed = np.array([[2.0, 0, 0, 70], [0, 3, 0, -60], [0, 0, 4, -10], [0, 0, 0, 1]])
    millimetres = np.array([82.0, -54, 2, 1])
    peaks: list[list[int]] = []
    for affine in (LEFT_HANDED, right_handed):
        voxel = np.linalg.solve(affine, millimetres)[:3].astype(int)
        planted = np.zeros((9, 8, 7), np.float32)
        planted[tuple(voxel)] = 1

        file = read_array(write_nifti(tmp_path / "a.nii.gz", planted, affine))

        [peak] = np.argwhere(file.values[0].numpy() == 1)
        assert file.affine is not None
        np.testing.assert_allclose(file.affine @ (*peak, 1), millimetres)
        peaks.append(peak.tolist())
    assert peaks == [[4, 2, 3], [6, 2, 3]]


def test_the_affine_is_that_of_nibabel(tmp_path: Path) -> None:
    import nibabel

    turned = np.array([[0, 0, 3.0, 1], [-2, 0, 0, 5], [0, -1, 0, 9], [0, 0, 0, 1]])
    file = read_array(write_nifti(tmp_path / "a.nii", volume(), turned))
    stored = nibabel.load(tmp_path / "a.nii")
    np.testing.assert_allclose(file.affine, stored.affine)
    assert file.spacing == pytest.approx(stored.header.get_zooms())
    assert file.orientation == (
        "i runs to the patient's back, j runs to the patient's feet, k runs to the patient's right."
    )


def test_a_scale_is_applied_with_a_remark(tmp_path: Path) -> None:
    import nibabel

    path = write_nifti(tmp_path / "a.nii.gz", volume(), slope=0.5, intercept=-7)
    file = read_array(path)
    np.testing.assert_allclose(file.values[0], nibabel.load(path).get_fdata())
    assert file.remarks == ("a.nii.gz is scaled: 0.5 × stored − 7.",)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_key_chooses_one_of_several_volumes(name: str, tmp_path: Path) -> None:
    write_nifti(tmp_path / name, np.stack([volume(), volume() + 100, volume() + 200], -1))
    file = read_array(f"{tmp_path / name}:t=1")
    assert torch.equal(file.values[0], torch.from_numpy(np.float32(volume() + 100)))
    assert file.name == f"{name}:t=1"


def test_a_single_volume_with_a_fourth_axis_needs_no_key(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", volume()[..., None])
    assert read_array(path).values.shape == (1, 3, 4, 5)


def test_a_volume_without_an_affine_is_read_with_a_remark(tmp_path: Path) -> None:
    file = read_array(write_nifti(tmp_path / "a.nii", volume(), affine=None))
    assert file.affine is None
    assert file.orientation == ""
    assert file.remarks == (
        "a.nii has no affine, so it is not known where left, right, front and back are.",
    )


def test_an_affine_that_flattens_the_volume_is_not_used(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", volume())
    content = bytearray(path.read_bytes())
    content[280:328] = bytes(48)  # the three rows of the sform
    path.write_bytes(content)
    file = read_array(path)
    assert file.affine is None
    assert "has an affine that cannot be inverted" in file.remarks[0]


def test_metres_and_micrometres_become_millimetres(tmp_path: Path) -> None:
    import nibabel

    for unit, factor in (("meter", 1000), ("micron", 0.001)):
        image = nibabel.Nifti1Image(volume(), LEFT_HANDED)
        image.header.set_xyzt_units(unit)
        nibabel.save(image, tmp_path / "a.nii")
        assert read_array(tmp_path / "a.nii").spacing == pytest.approx(
            (2 * factor, 3 * factor, 4 * factor)
        )


def test_the_display_range_of_a_volume_becomes_its_levels(tmp_path: Path) -> None:
    import nibabel

    image = nibabel.Nifti1Image(volume(), LEFT_HANDED)
    image.header["cal_min"], image.header["cal_max"] = 10, 50
    nibabel.save(image, tmp_path / "a.nii")
    assert read_array(tmp_path / "a.nii").levels == (10, 50)


def test_the_second_version_and_the_other_byte_order_are_read(tmp_path: Path) -> None:
    import nibabel

    nibabel.save(nibabel.Nifti2Image(volume(), LEFT_HANDED), tmp_path / "a.nii")
    big = nibabel.Nifti1Image(volume(), LEFT_HANDED, nibabel.Nifti1Header(endianness=">"))
    nibabel.save(big, tmp_path / "b.nii")
    for name in ("a.nii", "b.nii"):
        values = read_array(tmp_path / name).values[0]
        assert torch.equal(values, torch.from_numpy(np.float32(volume())))


# ── one DICOM file ───────────────────────────────────────────────────────────────────────────


def test_a_picture_keeps_its_corners_and_stated_depth(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", marked(), PixelSpacing=[0.5, 0.75])
    file = read_array(path)
    assert is_array_file(path)
    assert file.values.shape == (1, 5, 7)
    assert corners(file.values[0]) == MARKED
    assert file.levels == (0, 4095)
    assert file.spacing == (0.5, 0.75)
    assert file.remarks == ()


def test_no_suffix_is_needed(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "IM000001", marked())
    assert is_array_file(path)
    assert corners(read_array(path).values[0]) == MARKED


def test_a_preamble_that_looks_like_a_tiff_file_is_ignored(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", marked())
    path.write_bytes(b"II*\0" + path.read_bytes()[4:])
    assert corners(read_array(path).values[0]) == MARKED


def test_rescale_and_window_are_in_the_unit_of_the_file(tmp_path: Path) -> None:
    path = write_dicom(
        tmp_path / "a.dcm",
        np.array([[864, 1064, 1263, 2000]]),
        RescaleSlope=1,
        RescaleIntercept=-1024,
        WindowCenter=40,
        WindowWidth=400,
    )
    file = read_array(path)
    assert file.values.flatten().tolist() == [-160, 40, 239, 976]
    assert file.levels == (-160, 239)  # PS3.3 C.11.2.1.2.1
    assert windowed(file).values.flatten().tolist() == pytest.approx([0, 200 / 399, 1, 1])
    assert file.remarks == ("a.dcm is scaled: 1 × stored − 1024.",)


@pytest.mark.parametrize(
    ("fields", "levels"),
    [
        ({"VOILUTFunction": "LINEAR_EXACT"}, (-160, 240)),
        ({"WindowCenter": [40, 300], "WindowWidth": [400, 2000]}, (-160, 239)),
        ({"WindowWidth": 1}, None),
    ],
)
def test_windows_follow_the_standard(fields: Any, levels: Any, tmp_path: Path) -> None:
    window = {"WindowCenter": 40, "WindowWidth": 400, "RescaleSlope": 2, "RescaleIntercept": 0}
    file = read_array(write_dicom(tmp_path / "a.dcm", marked(), **(window | fields)))
    assert file.levels == levels
    assert ("a.dcm has 2 windows; the first is kept." in file.remarks) == (
        isinstance(fields.get("WindowCenter"), list)
    )


def test_a_picture_whose_zero_is_white_is_inverted(tmp_path: Path) -> None:
    fields = {"WindowCenter": 1000.5, "WindowWidth": 401}
    plain = read_array(write_dicom(tmp_path / "a.dcm", marked(), **fields))
    inverted = read_array(
        write_dicom(
            tmp_path / "b.dcm", 4095 - marked(), PhotometricInterpretation="MONOCHROME1", **fields
        )
    )
    assert corners(inverted.values[0]) == corners(plain.values[0]) == MARKED
    assert plain.levels == (800, 1200)
    assert inverted.levels == (4095 - 1200, 4095 - 800)
    assert inverted.remarks == (
        "b.dcm is MONOCHROME1, in which low values are white: 4095 − value is read.",
    )


def test_scale_and_inversion_together_keep_the_order_of_brightness(tmp_path: Path) -> None:
    stored = np.array([[0, 1000, 4095]])
    file = read_array(
        write_dicom(
            tmp_path / "a.dcm",
            stored,
            PhotometricInterpretation="MONOCHROME1",
            RescaleSlope=2,
            RescaleIntercept=-100,
        )
    )
    assert file.values.flatten().tolist() == [8090, 6090, -100]
    assert len(file.remarks) == 2


def test_colours_are_kept(tmp_path: Path) -> None:
    colours = np.zeros((5, 7, 3), np.uint8)
    colours[0, -1] = 10, 20, 30
    fields: dict[str, Any] = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    fields |= {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    fields |= {"Rows": 5, "Columns": 7, "PixelData": colours.tobytes() + b"\0"}
    file = read_array(write_dicom(tmp_path / "a.dcm", marked(), **fields))
    assert file.values.shape == (3, 5, 7)
    assert file.values[:, 0, -1].tolist() == [10, 20, 30]
    assert file.levels == (0, 255)


def test_frames_without_positions_are_slices_in_their_order(tmp_path: Path) -> None:
    frames = np.stack([marked(), marked() * 2])
    file = read_array(write_dicom(tmp_path / "a.dcm", frames, NumberOfFrames=2))
    assert file.values.shape == (1, 2, 5, 7)
    assert corners(file.values[0, 0]) == MARKED
    assert file.remarks == ("a.dcm has 2 frames, read as slices in their stored order.",)


def test_frames_with_positions_are_put_in_order(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset

    def item(**fields: Any) -> list[Dataset]:
        data = Dataset()
        for name, value in fields.items():
            setattr(data, name, value)
        return [data]

    each = []
    for depth in (6, 2, 4):
        [group] = item(PlanePositionSequence=item(ImagePositionPatient=[0, 0, depth]))
        group.PixelValueTransformationSequence = item(RescaleSlope=depth, RescaleIntercept=1)
        each.append(group)
    shared = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelMeasuresSequence=item(PixelSpacing=[0.5, 0.75]),
    )
    path = write_dicom(
        tmp_path / "a.dcm",
        np.ones((3, 4, 6)),
        NumberOfFrames=3,
        PerFrameFunctionalGroupsSequence=each,
        SharedFunctionalGroupsSequence=shared,
    )

    file = read_array(path)

    assert file.values[0, :, 0, 0].tolist() == [3, 5, 7]
    assert file.spacing == (2, 0.5, 0.75)
    assert "each frame by its own scale" in file.remarks[0]


# ── a folder with a series ───────────────────────────────────────────────────────────────────


def write_series(folder: Path, positions: Any = (10, 0, 5, 15), **fields: Any) -> Path:
    """Slices with their position as the value; names and instance numbers mislead."""
    folder.mkdir(exist_ok=True)
    for number, position in enumerate(positions):
        write_slice(folder / f"{number}.dcm", position, position, InstanceNumber=number, **fields)
    return folder


def test_slices_are_sorted_by_position_not_by_name(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct")
    file = read_array(folder)
    assert is_array_file(folder)
    assert file.values.shape == (1, 4, 4, 6)
    assert file.values[0, :, 0, 0].tolist() == [0, 5, 10, 15]
    assert file.spacing == (5, 0.5, 0.75)
    assert file.orientation == (
        "d runs to the patient's head, h runs to the patient's back, w runs to the patient's left."
    )
    assert file.remarks == ()


def test_slices_of_a_turned_patient_follow_their_normal(tmp_path: Path) -> None:
    folder = tmp_path / "mr"
    folder.mkdir()
    for number, position in enumerate((4, 8, 0)):
        write_slice(
            folder / f"{number}",
            position,
            0,
            ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
            ImagePositionPatient=[position, 0, 0],
        )
    file = read_array(folder)
    assert file.values[0, :, 0, 0].tolist() == [8, 4, 0]  # the normal points to the right
    assert file.orientation.startswith("d runs to the patient's right, h runs to the patient's fee")


def test_each_slice_is_scaled_by_its_own_scale(tmp_path: Path) -> None:
    folder = tmp_path / "pet"
    folder.mkdir()
    for position in (0, 3):
        write_slice(folder / f"{position}", 10, position, RescaleSlope=position + 1)
    assert read_array(folder).values[0, :, 0, 0].tolist() == [10, 40]


def test_a_series_of_the_folder_is_chosen_by_its_number(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct", SeriesNumber=7)
    write_slice(folder / "scout", 9, 3, SeriesInstanceUID="1.2.9", SeriesNumber=2)
    assert read_array(f"{folder}:7").values.shape == (1, 4, 4, 6)
    assert read_array(f"{folder}:2").values.shape == (1, 4, 6)
    with pytest.raises(ValueError, match=r"holds 2 series: 7, 2\. They are 7: 4 × no name; 2: 1"):
        read_array(folder)


def test_other_files_of_the_folder_are_remarked(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct")
    (folder / "notes.txt").write_text("Nothing.", "utf-8")
    assert read_array(folder).remarks == ("ct also holds files that are not DICOM pictures: 1.",)


def test_slices_at_uneven_distances_are_remarked(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct", (0, 5, 10, 15.5))
    file = read_array(folder)
    assert file.spacing is not None
    assert file.spacing[0] == 5
    assert file.remarks == ("ct has slices that are 5 to 5.5 mm apart.",)


def test_slices_of_a_tilted_scanner_are_remarked(tmp_path: Path) -> None:
    folder = tmp_path / "ct"
    folder.mkdir()
    for position in (0, 5, 10):
        place = [0, position / 2, position]
        write_slice(folder / f"{position}", 1, 0, ImagePositionPatient=place)
    assert read_array(folder).remarks == (
        "ct has slices that are shifted sideways, by 5 mm in all.",
    )


def test_a_folder_with_one_slice_gives_a_picture(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct", (3,))
    file = read_array(folder)
    assert file.values.shape == (1, 4, 6)
    assert file.remarks == ("ct holds one slice: 0.dcm.",)


def test_a_folder_of_photos_is_not_a_series(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    assert not is_array_file(tmp_path)


def test_a_compressed_volume_is_not_unpacked_beyond_its_voxels(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", volume())
    packed = gzip.compress(path.read_bytes()) + gzip.compress(bytes(300 * 2**20), 1)
    (tmp_path / "a.nii.gz").write_bytes(packed)
    assert read_array(tmp_path / "a.nii.gz").values.shape == (1, 3, 4, 5)
