"""Maps that another program made, read from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from scorecam.baselines.ground import finished
from scorecam.cam import upsample
from scorecam.errors import PhotoError, SettingError
from scorecam.images import MASK, Accepts, opened
from scorecam.method import Case, Method
from scorecam.shapes import Heatmap

SUFFIXES = (".npy", ".png")

_MAP = Accepts("a map", MASK, PhotoError)


class Maps(Method):
    """The map of each photo from a folder: `<the photo's path without its suffix>.npy` or `.png`.

    Or `<the photo's stem>.npy`, where no two photos share one. Arrays are `h w`, on any grid, and
    larger is more important. Pictures are read as greys. They are brought to the input's size as
    Score-CAM's own maps are: bilinear, half-pixel. So they have to cover what the model sees of the
    photo, not more.

    Args:
        name: as users write it.
        dir: the folder.
    """

    source = "read from files"

    def __init__(self, name: str, dir: str) -> None:  # noqa: A002  (as users write it)
        self.name = name
        self.folder = Path(dir)
        self.settings: Mapping[str, object] = {"dir": dir}
        if not dir or not self.folder.is_dir():
            raise SettingError(
                f"{dir or 'Nothing'} is not a folder of maps.",
                do="Write it as maps:dir=FOLDER, with one .npy or .png for each photo.",
            )

    def heatmap(self, case: Case) -> Heatmap:
        path = self._find(case.name)
        try:
            if path.suffix == ".npy":
                values = np.load(path, allow_pickle=False)
            else:
                with opened(path, _MAP) as found:
                    values = np.asarray(found.image.convert("F"))
            grid = torch.from_numpy(np.array(values, dtype=np.float32))
        except PhotoError:
            raise
        except (OSError, ValueError, TypeError, EOFError, MemoryError, BadZipFile) as error:
            raise PhotoError(
                f"The map {path} cannot be read: {error}.", do="Save it with numpy.save."
            ) from error
        size = tuple(case.image.shape[1:])
        if grid.ndim != len(size) or 0 in grid.shape:
            raise PhotoError(
                f"The map {path} has the shape {tuple(grid.shape)}, the image {len(size)} axes.",
                do="Save one array of numbers a photo, without a batch or colour axis.",
            )
        grid = grid.to(case.image.device)
        whole = grid if tuple(grid.shape) == size else upsample(grid[None], size)[0]
        return finished(whole, case, self.name)

    def _find(self, photo: str) -> Path:
        own = Path(photo).with_suffix("")
        for base in (self.folder / own, self.folder / own.name):
            for suffix in SUFFIXES:
                path = base.with_name(base.name + suffix)
                if path.is_file() and self.folder.resolve() in path.resolve().parents:
                    return path
        raise PhotoError(
            f"There is no map of {photo} in {self.folder}.",
            likely="It may be called otherwise.",
            do=f"Name it {own}.npy.",
        )
