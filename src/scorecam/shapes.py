"""The letters of axes, and the types of the tensors that all packages share.

    b  images in a batch          k  channels of the explained layer
    c  colours                    s  channels whose mask was scored
    h w  rows, columns            n  columns of the readout

The grid of the explained layer is `*g` and the axes of the image are `*i`. Both have the same
number of axes: one for signals, two for photos, three for volumes.

The strings follow jaxtyping's syntax. Only the tests import jaxtyping, to check every call.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

Activations = Annotated[Tensor, "k *g"]
"""A: the maps of the explained layer for one image, float32, raw (signed if the layer is)."""

BatchedActivations = Annotated[Tensor, "b k *g"]
"""A of several images."""

Grid = Annotated[Tensor, "*g"]
"""One map on the layer's grid, float32."""

Grids = Annotated[Tensor, "b *g"]
"""One map on the layer's grid per image."""

Masks = Annotated[Tensor, "k *i"]
"""H: one mask per channel, at the image's size, in [0, 1]."""

Image = Annotated[Tensor, "c *i"]
"""X: one preprocessed input, in the model's own units."""

Images = Annotated[Tensor, "b c *i"]
"""Several preprocessed inputs of one size."""

Scores = Annotated[Tensor, "k n"]
"""Z: the readout for one masked image per row, float32."""

BatchedScores = Annotated[Tensor, "b n"]
"""The readout of several images, float32."""

Columns = Annotated[Tensor, "n"]
"""One row of scores: the readout of a single image."""

Weights = Annotated[Tensor, "k"]
"""α: the weights that a variant computes from Z for one target, float32."""

Heatmap = Annotated[Tensor, "*i"]
"""ReLU(Σ α_k A_k), upsampled to the image; raw, at least 0, float32."""

Heatmaps = Annotated[Tensor, "b *i"]
"""One heatmap per image."""
