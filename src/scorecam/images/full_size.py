"""Photos that are normalised, but neither resized nor cropped."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PIL import Image
from torch import Tensor

from scorecam import shapes
from scorecam.images.placement import Placement
from scorecam.images.preprocess import Preprocess
from scorecam.images.preprocessing import Channels, Preprocessing


@dataclass(frozen=True)
class FullSize(Preprocessing):
    """The normalisation of a `Preprocess`, without its resize and crop.

    Args:
        base: the preprocessing of one window.
        size: (height, width) of one window; inputs have the size of the photo.
    """

    base: Preprocess
    size: tuple[int, int]  # type: ignore[assignment]

    @property
    def mean(self) -> tuple[float, ...]:  # type: ignore[override]
        return self.base.mean

    @property
    def std(self) -> tuple[float, ...]:  # type: ignore[override]
        return self.base.std

    @property
    def channels(self) -> Channels:  # type: ignore[override]
        return self.base.channels

    def __call__(self, photo: Image.Image) -> shapes.Image:
        return self._of(photo.size)(photo)

    def view(self, photo: Image.Image) -> Image.Image:
        """The whole photo, in RGB."""
        return self._of(photo.size).view(photo)

    def placement(self, photo_size: tuple[int, int]) -> Placement:
        """The whole photo."""
        return self._of(photo_size).placement(photo_size)

    def to_dict(self) -> dict[str, object]:
        """The preprocessing of a window, and that it is not resized."""
        return {"full size": True, **self.base.to_dict()}

    def of_bands(self, bands: Tensor) -> shapes.Image:
        """The model's input from numbers; see `Preprocess.of_bands`."""
        height, width = bands.shape[1:]
        return self._of((width, height)).of_bands(bands)

    def _of(self, photo_size: tuple[int, int]) -> Preprocess:
        return replace(self.base, size=photo_size[::-1], fit="squash")
