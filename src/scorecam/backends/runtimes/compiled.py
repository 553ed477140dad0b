"""`torch.compile` as a fast way to run a network."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator

import torch
from torch import Tensor

from scorecam.base import cache
from scorecam.base.process import environment, quietly
from scorecam.shapes import BatchedScores, Images

BATCH = 16

FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""The environment variable that says where torch keeps what it compiled; it has no setting."""

SETTINGS = {
    "freezing": True,
    "compile_threads": 1,  # no worker processes: only the compiler itself is started
    "cpp_cache_precompile_headers": False,  # they lie in the folder for temporary files
}


def convert(ask: Callable[[Tensor], Tensor], example: Images) -> Callable[[Images], BatchedScores]:
    """Compile a network once, for batches of the example's size, its weights frozen in.

    Args:
        ask: `b c *i` → `b n`; in every call its network must be as it is in this one.
        example: as many images as every pass will have.

    Returns:
        A function of at most as many images as the example has. Whatever torch raises passes
        through.
    """
    rows = len(example)

    def own(images: Tensor) -> Tensor:
        return ask(images)

    # Torch keeps what it compiled with a function's code, and gives up after eight for one code.
    own.__code__ = own.__code__.replace()
    with _compiling():
        compiled = torch.compile(own, dynamic=False)

    def run(images: Images) -> BatchedScores:
        with _compiling(), torch.no_grad():
            return compiled(images)

    run(example)

    def scores(images: Images) -> BatchedScores:
        given = images.to(example.dtype).contiguous()
        if len(images) < rows:  # another size would be compiled again
            given = example.new_zeros(example.shape)
            given[: len(images)] = images
        return run(given)[: len(images)].clone()

    return scores


@contextlib.contextmanager
def _compiling() -> Generator[None]:
    """Torch compiles as we want it to: it does so in any pass that differs from those before.

    It warns of its own old parts. Its settings, and the environment, are then as they were.
    """
    folder = os.environ.get(FOLDER) or str(cache.folder() / "inductor")
    with quietly(), environment(FOLDER, folder):
        import torch._inductor.config as inductor  # only here: it takes a second

        known = {name: value for name, value in SETTINGS.items() if hasattr(inductor, name)}
        with inductor.patch(known):
            yield
