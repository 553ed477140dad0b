"""Memory stays within the bound of docs/design.md, however many channels or pixels there are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scorecam.backends.runtimes.openvino import RUNTIME
from scorecam.cam import Masking, blend
from scorecam.model.batches import Batches, first_batch_size, with_layer

SCRIPT = Path(__file__).parents[1] / "helpers" / "memory_growth.py"
TUNING = ("MALLOC_", "GLIBC_TUNABLES")
"""How environment variables begin that change what freed memory stays with the process."""


def peaks(subject: str, budget: str) -> tuple[float, float]:
    """The peak memory of a plain pass and of an explanation, in MiB."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(TUNING)}
    command = [sys.executable, str(SCRIPT), subject, budget]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    plain, explained = map(float, done.stdout.split())
    return plain, explained


def bound(plain: float, maps: float, image: float, mask: float) -> float:
    """The formula of docs/design.md for a batch of one, in MiB."""
    return plain + 3 * maps + image + 3 * mask + 64


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("budget", ["exact", "fast"])
def test_8192_channels_of_56_by_56_stay_within_the_bound(budget: str) -> None:
    plain, explained = peaks("many", budget)
    maps = 8192 * 56**2 * 4 / 2**20
    assert maps < explained < bound(plain, maps, image=0.6, mask=0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("budget", ["exact", "fast"])
def test_an_input_of_4000_by_4000_stays_within_the_bound(budget: str) -> None:
    plain, explained = peaks("large", budget)
    mask = 4000**2 * 4 / 2**20
    assert mask < explained < bound(plain, 0, image=3 * mask, mask=mask)


def test_a_large_layer_makes_batches_small_on_a_processor() -> None:
    assert with_layer(8, torch.zeros(1280, 7, 7)) == 8
    assert with_layer(8, torch.zeros(64, 112, 112)) == 8
    assert with_layer(8, torch.zeros(1024, 56, 56)) == 2
    assert with_layer(8, torch.zeros(8192, 56, 56)) == 1
    assert with_layer(8, torch.zeros(8192, 56, 56, device="meta")) == 8


def test_a_batch_on_a_processor_takes_the_memory_of_eight_photos() -> None:
    sizes = {size: first_batch_size("auto", torch.zeros(1, 3, size, size)) for size in (224, 448)}
    assert sizes == {224: 8, 448: 2}
    assert first_batch_size("auto", torch.zeros(1, 3, 4000, 4000, device="meta")) == 1


def test_a_converted_network_takes_fewer_large_images_at_once() -> None:
    sizes = (224, 448, 512, 4000)
    images = [torch.zeros(3, size, size, device="meta") for size in sizes]
    assert [RUNTIME.batch_for(image) for image in images] == [8, 8, 6, 1]


def test_a_preferred_size_never_undoes_a_halving() -> None:
    batches = Batches(4)
    batches.prefer(8)
    assert batches.size == 8
    short = iter([MemoryError(), None, None, None])

    def work(_: slice) -> None:
        if (error := next(short)) is not None:
            raise error

    list(batches.over(8, work))
    batches.prefer(8)
    assert batches.size == 4


def test_a_fill_without_memory_blends_to_the_same_images() -> None:
    image, masks = torch.rand(3, 6, 5), torch.rand(2, 6, 5)
    for fill in (0.0, 0.5, (0.1, 0.2, 0.3)):
        masking = Masking(fill=fill)
        full, view = masking.fill_like(image), masking.hidden(image)
        assert view.untyped_storage().nbytes() <= 3 * 4
        results = [torch.empty(2, 3, 6, 5) for _ in range(2)]
        blend(image, masks, full, results[0])
        blend(image, masks, view, results[1])
        assert torch.equal(results[0], results[1])
        torch.testing.assert_close(results[0], full + (image - full) * masks[:, None])
