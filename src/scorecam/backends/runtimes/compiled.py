"""`torch.compile` as a fast way to run a network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from scorecam.shapes import BatchedScores, Images

BATCH = 16


def convert(ask: Callable[[Tensor], Tensor], example: Images) -> Callable[[Images], BatchedScores]:
    """Compile a network once, for batches of the example's size, its weights frozen in.

    Args:
        ask: `b c *i` → `b n`.
        example: as many images as every pass will have.

    Returns:
        A function of up to so many images. Whatever torch raises passes through.
    """
    import torch._inductor.config as inductor  # only here: it takes a second

    compiled = torch.compile(ask, dynamic=False)
    rows = len(example)
    with torch.no_grad(), inductor.patch(freezing=True):
        compiled(example)

    def scores(images: Images) -> BatchedScores:
        given = images.contiguous()
        if len(images) < rows:  # another size would be compiled anew
            given = example.new_zeros(example.shape)
            given[: len(images)] = images
        with torch.no_grad(), inductor.patch(freezing=True):
            return compiled(given)[: len(images)].clone()

    return scores
