"""`torch.compile` as a fast way to run a network."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Generator

import torch
from torch import Tensor

from scorecam.shapes import BatchedScores, Images

BATCH = 16


def convert(ask: Callable[[Tensor], Tensor], example: Images) -> Callable[[Images], BatchedScores]:
    """Compile a network once, for batches of the example's size, its weights frozen in.

    Args:
        ask: `b c *i` → `b n`; in every call its network must be as it is in this one.
        example: as many images as every pass will have.

    Returns:
        A function of up to so many images. Whatever torch raises passes through.
    """
    rows = len(example)

    def own(images: Tensor) -> Tensor:
        return ask(images)

    # Torch keeps what it compiled with a function's code, and gives up after eight for one code.
    own.__code__ = own.__code__.replace()
    with _quietly():
        import torch._inductor.config as inductor  # only here: it takes a second

        compiled = torch.compile(own, dynamic=False)

    def run(images: Images) -> BatchedScores:
        with _quietly(), torch.no_grad(), inductor.patch(freezing=True):
            return compiled(images)

    run(example)

    def scores(images: Images) -> BatchedScores:
        given = images.to(example.dtype).contiguous()
        if len(images) < rows:  # another size would be compiled anew
            given = example.new_zeros(example.shape)
            given[: len(images)] = images
        return run(given)[: len(images)].clone()

    return scores


@contextlib.contextmanager
def _quietly() -> Generator[None]:
    """Torch warns of its own old parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
