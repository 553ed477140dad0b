"""An image with the activations that become its masks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from scorecam import cam
from scorecam.base.blocks import chosen
from scorecam.budget.gaussian_process import Surrogate
from scorecam.cam import Masking
from scorecam.errors import ModelError
from scorecam.model.batches import Batches
from scorecam.model.model import Model
from scorecam.shapes import Activations, Columns, Grid, Heatmap, Image, Images, Weights


@dataclass(frozen=True)
class MaskedImage:
    """One image, its activations, and its scores without a mask.

    Channels whose masks are equal share one mask and its scores.

    Args:
        image: `c *i`.
        activations: of the explained layer, `k *g`.
        scores: of the image without a mask, `n`.
        live: the channels that have a mask, `l`.
        first: the first live channel of each distinct mask, `d`: indices into `live`.
        inverse: the mask of each live channel, `l`: indices into `first`.
    """

    image: Image
    activations: Activations
    scores: Columns
    live: Tensor
    first: Tensor
    inverse: Tensor

    def __len__(self) -> int:
        """The number of distinct masks."""
        return len(self.first)

    @property
    def live_maps(self) -> Activations:
        """The maps that have a mask, `l *g`; the activations themselves if all have one."""
        return chosen(self.activations, self.live)

    def maps_of(self, masks: Tensor) -> Activations:
        """The maps that become these masks, `s *g`."""
        return self.activations[self.live[self.first[masks]]]

    def surrogate(self, seed: int) -> Surrogate:
        """The Gaussian process that predicts the scores of masks."""
        return Surrogate(self.live_maps, self.first, self.inverse, seed)

    def heatmap(self, weights: Weights, field: Grid | None) -> Heatmap:
        """The heatmap of one weight per distinct mask; see `cam.heatmap` for the field."""
        return cam.heatmap(self.live_maps, weights[self.inverse], self.image.shape[1:], field)


def prepare(
    model: Model, images: Images, layer: str, masking: Masking, batches: Batches
) -> list[MaskedImage]:
    """Run the model on the images without masks: one pass each.

    Raises:
        ModelError: a score is NaN or infinite.
    """
    parts = batches.over(
        len(images), lambda part: _masked_images(model, images[part], layer, masking)
    )
    return [image for part in parts for image in part]


def _masked_images(model: Model, images: Images, layer: str, masking: Masking) -> list[MaskedImage]:
    activations, scores = model.activations(images, layer)
    if not scores.isfinite().all():
        raise ModelError(
            "The model's scores of the unmasked image contain NaN or infinity.",
            likely="Its weights may hold NaN, it may overflow in half precision, or the image may "
            "not be preprocessed as the model expects.",
            do="Check model(x) on this image; try float32 weights.",
        )
    size = images.shape[2:]
    masked_images: list[MaskedImage] = []
    for image, maps, columns in zip(images, activations, scores, strict=True):
        live = cam.live(maps, size, masking).nonzero()[:, 0]
        first, inverse = cam.distinct(chosen(maps, live), masking)
        masked_images.append(
            MaskedImage(image, maps, columns, live=live, first=first, inverse=inverse)
        )
    return masked_images
