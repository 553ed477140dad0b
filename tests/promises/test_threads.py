"""Threads that share networks get the same maps as alone, and do not disturb training.

Every comparison is exact, without tolerance.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
import shared_networks
from scorecam.backends.runtimes import conversions
from scorecam.compat import torchcam
from shared_networks import CALLS, EVAL_CALLS, IMAGE, Headed, Trunk, make_trunk, train

THREADS = 8

ALL_CALLS = [
    *(pytest.param(call, id=name) for name, call in CALLS.items()),
    *(
        pytest.param(call, id=name, marks=pytest.mark.needs("eval"))
        for name, call in EVAL_CALLS.items()
    ),
]


def same(result: Tensor, expected: Tensor) -> bool:
    if result.shape != expected.shape:
        return False
    return torch.equal(result.nan_to_num(), expected.nan_to_num())


def in_threads(work: Callable[[int], Any], times: int) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(times)))


@pytest.mark.parametrize("call", ALL_CALLS)
def test_calls_during_training_disturb_neither(
    call: Callable[[nn.Module], Tensor],
) -> None:
    """Eight heads on one trunk in training mode, while another thread trains a ninth."""
    expected = [call(Headed(make_trunk(), seed)) for seed in range(2)]
    learner_alone = Headed(make_trunk(), 99)
    expected_weights = train(learner_alone, 60)

    shared = make_trunk()
    networks = [Headed(shared, seed % 2) for seed in range(THREADS)]
    learner = Headed(shared, 99)
    weights: list[Tensor] = []
    training = threading.Thread(target=lambda: weights.append(train(learner, 60)))

    def work(number: int) -> bool:
        return same(call(networks[number]), expected[number % 2])

    training.start()
    results = in_threads(work, THREADS)
    while training.is_alive():
        results += in_threads(work, THREADS)
    training.join()

    assert results == [True] * len(results)
    assert len(weights) == 1
    assert torch.equal(weights[0], expected_weights)
    assert shared.modes == [True] * 60, "a step ran in evaluation mode"
    assert shared.gradients == [True] * 60, "a step ran without gradients"
    assert all(module.training for module in shared.modules())


def test_calling_the_network_in_a_thread_changes_no_map() -> None:
    network = Headed(make_trunk(), 0).eval()
    expected = scorecam.ScoreCAM(network, "trunk.conv", runtime="eager")(IMAGE[None], 1)
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            with torch.no_grad():
                network(torch.randn(1, 3, 20, 28))

    caller = threading.Thread(target=call)
    caller.start()
    try:
        maps = [
            scorecam.ScoreCAM(network, "trunk.conv", runtime="eager")(IMAGE[None], 1)
            for _ in range(40)
        ]
    finally:
        done.set()
        caller.join()
    assert all(torch.equal(heatmap, expected) for heatmap in maps)


def test_changing_the_mode_in_a_thread_changes_no_map() -> None:
    network = Headed(make_trunk(), 0)
    expected = scorecam.ScoreCAM(network, runtime="eager")(IMAGE[None], 1)
    done = threading.Event()

    def toggle() -> None:
        while not done.is_set():
            network.train()
            network.eval()

    toggler = threading.Thread(target=toggle)
    toggler.start()
    try:
        maps = [scorecam.ScoreCAM(network, runtime="eager")(IMAGE[None], 1) for _ in range(40)]
    finally:
        done.set()
        toggler.join()
    assert all(torch.equal(heatmap, expected) for heatmap in maps)


class Wrapper(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


@pytest.mark.parametrize("wrapped", [1, 2])
def test_wrappers_of_one_network_do_not_disturb_each_other(wrapped: int) -> None:
    network = Headed(make_trunk(), 0)
    expected = scorecam.ScoreCAM(network, "trunk.conv", runtime="eager")(IMAGE[None], 1)

    def work(number: int) -> bool:
        outer: nn.Module = network
        for _ in range(1 + (wrapped + number) % 2):
            outer = Wrapper(outer)
        layer = "network." * (1 + (wrapped + number) % 2) + "trunk.conv"
        heatmap = scorecam.ScoreCAM(outer, layer, runtime="eager")(IMAGE[None], 1)
        return torch.equal(heatmap, expected)

    assert in_threads(work, 80) == [True] * 80
    assert all(module.training for module in network.modules())


def test_overlapping_networks_do_not_deadlock() -> None:
    """Three trunks, and three networks of two trunks each, explained in every order."""
    trunks = [make_trunk() for _ in range(3)]

    class TwoTrunks(nn.Module):
        def __init__(self, one: Trunk, other: Trunk) -> None:
            super().__init__()
            self.one, self.other = one, other

        def forward(self, images: Tensor) -> Tensor:
            return (self.one(images) + self.other(images)).mean((2, 3))

    networks = [TwoTrunks(trunks[i], trunks[(i + 1) % 3]) for i in range(3)]

    def nested(number: int) -> Tensor:
        inner = networks[(number + 1) % 3]

        def target(output: Tensor) -> Tensor:
            scorecam.layers(inner, IMAGE)  # a call within a call
            return output[:, 0]

        cam = scorecam.ScoreCAM(networks[number % 3], "one.relu", runtime="eager")
        return cam(IMAGE[None], target)

    maps = in_threads(nested, 24)
    assert all(torch.equal(heatmap, maps[0]) for heatmap in maps)


@pytest.mark.timeout(60)
def test_a_nested_call_does_not_wait_for_a_conversion() -> None:
    """The converting thread may itself wait for this thread's pass to end."""
    network, inner = Headed(make_trunk(), 0), Headed(make_trunk(), 1)
    locked, release = threading.Event(), threading.Event()

    def convert() -> None:
        with conversions._CONVERTING:
            locked.set()
            release.wait()

    def target(output: Tensor) -> Tensor:
        scorecam.explain(inner, IMAGE, 1, runtime="openvino")
        return output[:, 0]

    converting = threading.Thread(target=convert)
    converting.start()
    locked.wait()
    try:
        scorecam.ScoreCAM(network, runtime="eager")(IMAGE[None], target)
    finally:
        release.set()
        converting.join()


@pytest.mark.needs("eval")
@pytest.mark.parametrize("method", ["smoothgrad:samples=4", "rise:masks=20", "random"])
def test_random_numbers_of_a_method_are_independent(method: str) -> None:
    """A thread that draws from torch's generator meanwhile gets the same numbers as alone."""
    network = Headed(make_trunk(), 0)
    expected = shared_networks.with_method(method)(network)
    torch.manual_seed(5)
    drawn: list[Tensor] = []

    def draw() -> None:
        for _ in range(400):
            drawn.append(torch.randn(10))  # noqa: PERF401  (one call at a time, on purpose)

    drawer = threading.Thread(target=draw)
    drawer.start()
    maps = [shared_networks.with_method(method)(network) for _ in range(8)]
    drawer.join()
    torch.manual_seed(5)
    assert torch.equal(torch.cat(drawn), torch.cat([torch.randn(10) for _ in range(400)]))
    assert all(torch.equal(heatmap, expected) for heatmap in maps)


def test_torchcam_extractors_explain_their_own_threads_image() -> None:
    network = Headed(make_trunk(), 0).eval()

    def extracted(number: int) -> Tensor:
        with torchcam.ScoreCAM(network, "trunk.relu", input_shape=(3, 20, 28)) as extractor:
            network(IMAGE[None] * (1 + number % 4))
            return extractor(1)[0]

    expected = [extracted(number) for number in range(4)]
    for number, heatmap in enumerate(in_threads(extracted, 40)):
        assert torch.equal(heatmap, expected[number % 4])
