"""A network can be shared by several callers and trained afterwards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

import scorecam
from scorecam.base.interpolation import upsample


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, stride=2),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 4),
    )


def test_threads_that_share_a_network_get_the_maps_of_one_thread() -> None:
    shared = network().train()
    state = {name: tensor.clone() for name, tensor in shared.state_dict().items()}
    images = torch.randn(8, 3, 20, 28)
    alone = [scorecam.explain(network(), image, 1).heatmap for image in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda image: scorecam.explain(shared, image, 1).heatmap, images))

    torch.testing.assert_close(together, alone)
    assert all(module.training for module in shared.modules())
    assert all(torch.equal(tensor, state[name]) for name, tensor in shared.state_dict().items())


def test_caches_filled_by_an_explanation_do_not_prevent_training() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()
            self.gain: Tensor | None = None

        def forward(self, images: Tensor) -> Tensor:
            if self.gain is None:
                self.gain = images.new_ones(4)
            return self.network(images) * self.gain

    caching = Caching()
    scorecam.explain(caching, torch.randn(3, 20, 28))
    caching(torch.randn(2, 3, 20, 28)).sum().backward()

    assert caching.gain is not None
    assert not caching.gain.is_inference()


@pytest.mark.parametrize("precision", ["medium", "high"])
def test_masks_are_exact_in_every_precision(precision: str) -> None:
    maps = torch.randn(4, 7, 5)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        result = upsample(maps, (64, 48))
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)

    truth = interpolate(maps[None], (64, 48), mode="bilinear")[0]
    torch.testing.assert_close(result, truth, rtol=0, atol=1e-6)
