"""A folder of photos, with one folder per class, or without classes."""

from __future__ import annotations

from pathlib import Path

from scorecam.datasets.formats.building import Tally, finish
from scorecam.datasets.formats.format import Format
from scorecam.datasets.photos import is_photo, is_photo_or_array, photos_under
from scorecam.datasets.sample import Dataset, Sample


def open_folder(root: Path) -> Dataset:
    """Every photo in the folder, at any depth; its class is its outermost folder.

    Photos directly in `root` have no class. Without any photo, files of numbers count as photos.

    Raises:
        DatasetError: there is no photo, or a folder cannot be read.
    """
    tally = Tally()
    names = photos_under(root, wanted=is_photo_or_array)
    photos = [name for name in names if is_photo(name)]
    if 0 < len(photos) < len(names):
        tally["Files of numbers that are not used, because there are photos"] = len(names) - len(
            photos
        )
    samples = [Sample(name, root / name, _label(name)) for name in photos or names]
    without = sum(sample.label is None for sample in samples)
    if 0 < without < len(samples):
        tally["Photos without a class, because they are in no class folder"] = without
    return finish(root, "folder", samples, tally)


def _label(name: str) -> str | None:
    outermost, slash, _ = name.partition("/")
    return outermost if slash else None


FORMAT = Format(
    "folder",
    "photos in one folder per class, or without classes",
    "folder",
    recognises=lambda _, __: True,
    open=lambda path, _, __: open_folder(path),
)
