"""`torch.compile` as a runtime."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scorecam.backends.runtimes.casting import PRECISIONS, autocast
from scorecam.backends.runtimes.runtime import Network, Runtime
from scorecam.base import cache
from scorecam.base.process_state import environment_variable, ignore_warnings
from scorecam.shapes import BatchedScores, Images

if TYPE_CHECKING:
    from scorecam.backends.runtimes.state import State

FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""The environment variable for the folder of compiled code; torch has no setting for it."""

SETTINGS = {
    "freezing": True,
    "compile_threads": 1,  # no worker processes: only the compiler itself is started
    "cpp_cache_precompile_headers": False,  # they would be written to the temporary folder
}


class Compile(Runtime):
    """`torch.compile`, with the weights frozen in."""

    name = "compile"
    help = "torch.compile, which takes a minute to convert a network; never chosen by auto."
    batch = 16

    def version(self) -> str:
        return str(torch.__version__)

    def precisions(self) -> Sequence[str]:
        return PRECISIONS

    def check(self, network: Network, precision: str) -> None:
        """It runs every network that torch runs."""

    def convert(
        self,
        network: Network,
        example: Images,
        precision: str,
        *,
        state: State,  # noqa: ARG002
    ) -> Callable[[Images], BatchedScores]:
        # Compiled code runs the network's own modules. Those of a copy stay in evaluation mode.
        with network.prepared():  # no other thread may run the network while it is copied
            own = network.copied()
            with own.prepared() as scores:
                half = "float32" if precision == network.precision else precision
                return compiled(autocast(scores, network.device, half), example)


RUNTIME = Compile()


def compiled(
    scores: Callable[[Tensor], Tensor], example: Images
) -> Callable[[Images], BatchedScores]:
    """Compile a function of images for batches of the example's size.

    Args:
        scores: `b c *i` → `b n`; in every call its network must be as it is in this one.
        example: as many images as every pass will have.

    Returns:
        A function of at most as many images as the example has. Exceptions of torch pass through.
    """
    rows = len(example)

    def own(images: Tensor) -> Tensor:
        return scores(images)

    # Torch caches compilations per code object, and gives up after eight for one of them.
    own.__code__ = own.__code__.replace()
    with _compiling():
        fast = torch.compile(own, dynamic=False)

    def run(images: Images) -> BatchedScores:
        with _compiling(), torch.no_grad():
            return fast(images)

    run(example)

    def run_padded(images: Images) -> BatchedScores:
        padded = images.to(example.dtype).contiguous()
        if len(images) < rows:  # another size would be compiled again
            padded = example.new_zeros(example.shape)
            padded[: len(images)] = images
        return run(padded)[: len(images)].clone()

    return run_padded


@contextlib.contextmanager
def _compiling() -> Generator[None]:
    """Our settings and folder for torch's compiler, without its warnings; restored afterwards.

    Torch may compile in any pass that differs from those before, so every pass needs this.
    """
    folder = os.environ.get(FOLDER) or str(cache.cache_folder() / "inductor")
    with ignore_warnings(), environment_variable(FOLDER, folder):
        import torch._inductor.config as inductor  # only here: it takes a second

        known = {name: value for name, value in SETTINGS.items() if hasattr(inductor, name)}
        with inductor.patch(known):
            yield
