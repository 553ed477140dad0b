"""Maps of another program, read from files."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from scorecam.base.interpolation import upsample
from scorecam.base.wording import reason
from scorecam.errors import PhotoError, SettingError
from scorecam.images.opening import MASK_FORMATS, ImageKind, open_image
from scorecam.io.arrays import read_npy
from scorecam.io.reading import Kind
from scorecam.methods.declared import DeclaredMethod, setting
from scorecam.methods.differentiable import finished
from scorecam.methods.method import Case
from scorecam.shapes import Heatmap

SUFFIXES = (".npy", ".png")

MOST_CELLS = 2**27
"""The most pixels of the result, or cells if the map is larger than the image."""

MAP = Kind("a map that numpy.save wrote", 8 * MOST_CELLS + 10_000, PhotoError)
IMAGE = ImageKind("a map", MASK_FORMATS, PhotoError)


@dataclass(frozen=True)
class Maps(DeclaredMethod):
    """The map of each photo from a folder: `<the photo's path without its suffix>.npy` or `.png`.

    Or `<the photo's stem>.npy`, if no two photos share a stem. Arrays are `h w`, on any grid, and
    larger is more important. Pictures are read as grey values. Maps are resized to the input as
    Score-CAM's own maps are (bilinear, half-pixel), so they must cover exactly the model's crop of
    the photo.

    Args:
        name: as users write it.
        dir: the folder.
    """

    kind = "maps"
    source = "read from files"

    dir: str = setting("")

    def check(self) -> None:
        if not self.dir or not _is_folder(self.folder):
            raise SettingError(
                f"{self.dir[:80] or 'Nothing'} is not a folder of maps.",
                do="Write it as maps:dir=FOLDER, with one .npy or .png for each photo.",
            )

    @property
    def folder(self) -> Path:
        """The folder."""
        return Path(self.dir)

    def heatmap(self, case: Case) -> Heatmap:
        path = self._find(case.name)
        try:
            if path.suffix == ".npy":
                values = read_npy(path, MAP)
            else:
                with open_image(path, IMAGE) as opened:
                    values = np.asarray(opened.image.convert("F"))
            with np.errstate(over="ignore"):  # infinity is refused later, with its reason
                grid = torch.from_numpy(np.array(values, dtype=np.float32))
        except PhotoError:
            raise
        except (OSError, ValueError, TypeError, EOFError, MemoryError) as error:
            raise PhotoError(
                f"The map {path} cannot be read: {reason(error)}.", do="Save it with numpy.save."
            ) from error
        size = tuple(case.image.shape[1:])
        if grid.ndim != len(size) or 0 in grid.shape:
            raise PhotoError(
                f"The map {path} has the shape {tuple(grid.shape)}, but the image has "
                f"{len(size)} axes.",
                do="Save one array of numbers per photo, without a batch or colour axis.",
            )
        if math.prod(map(max, grid.shape, size)) > MOST_CELLS:
            raise PhotoError(
                f"The map {path} has the shape {tuple(grid.shape)}, the image {size}.",
                likely="It may be the map of another image.",
                do=f"Save a map of at most {MOST_CELLS:,} cells, on a grid like the image's.",
            )
        grid = grid.to(case.image.device)
        whole = grid if tuple(grid.shape) == size else upsample(grid[None], size)[0]
        return finished(whole, case, self.name)

    def _find(self, photo: str) -> Path:
        stem = Path(photo).with_suffix("")
        for base in (self.folder / stem, self.folder / stem.name):
            for suffix in SUFFIXES:
                path = base.with_name(base.name + suffix)
                if path.is_file() and self.folder.resolve() in path.resolve().parents:
                    return path
        raise PhotoError(
            f"There is no map of {photo} in {self.folder}.",
            likely="It may have another name.",
            do=f"Name it {stem}.npy.",
        )


def _is_folder(path: Path) -> bool:
    """Whether the path is a folder; False for an invalid path."""
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False


METHODS: tuple[type[DeclaredMethod], ...] = (Maps,)
"""The methods of this file."""
