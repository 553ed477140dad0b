"""Threads that share networks get the maps they would get alone, and training beside them goes on.

Differences are 0.0: nothing here is a matter of tolerance.
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
from shared_networks import CALLS, IMAGE, MORE, Headed, Trunk, train, trunk

THREADS = 8

EVERY = [
    *(pytest.param(call, id=name) for name, call in CALLS.items()),
    *(pytest.param(call, id=name, marks=pytest.mark.needs("eval")) for name, call in MORE.items()),
]


def same(found: Tensor, truth: Tensor) -> bool:
    return found.shape == truth.shape and torch.equal(found.nan_to_num(), truth.nan_to_num())


def in_threads(work: Callable[[int], Any], times: int) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(times)))


@pytest.mark.parametrize("call", EVERY)
def test_every_call_beside_training_is_what_it_is_alone_and_no_step_is_lost(
    call: Callable[[nn.Module], Tensor],
) -> None:
    """Eight heads on one trunk in training mode, while another thread trains a ninth."""
    truths = [call(Headed(trunk(), seed)) for seed in range(2)]
    alone = Headed(trunk(), 99)
    trained_alone = train(alone, 60)

    shared = trunk()
    networks = [Headed(shared, seed % 2) for seed in range(THREADS)]
    learner = Headed(shared, 99)
    weights: list[Tensor] = []
    training = threading.Thread(target=lambda: weights.append(train(learner, 60)))

    def work(number: int) -> bool:
        return same(call(networks[number]), truths[number % 2])

    training.start()
    found = in_threads(work, THREADS)
    while training.is_alive():
        found += in_threads(work, THREADS)
    training.join()

    assert found == [True] * len(found)
    assert len(weights) == 1
    assert torch.equal(weights[0], trained_alone)
    assert shared.modes == [True] * 60, "a step ran in evaluation mode"
    assert shared.wanted == [True] * 60, "a step ran without gradients"
    assert all(module.training for module in shared.modules())


def test_a_thread_that_calls_the_network_does_not_change_a_map() -> None:
    network = Headed(trunk(), 0).eval()
    truth = scorecam.ScoreCAM(network, "trunk.conv", runtime="eager")(IMAGE[None], 1)
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
    assert all(torch.equal(found, truth) for found in maps)


def test_a_thread_that_changes_the_networks_mode_does_not_change_a_map() -> None:
    network = Headed(trunk(), 0)
    truth = scorecam.ScoreCAM(network, runtime="eager")(IMAGE[None], 1)
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
    assert all(torch.equal(found, truth) for found in maps)


class Wrap(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


@pytest.mark.parametrize("wrapped", [1, 2])
def test_wrappers_of_one_network_do_not_disturb_each_other(wrapped: int) -> None:
    network = Headed(trunk(), 0)
    truth = scorecam.ScoreCAM(network, "trunk.conv", runtime="eager")(IMAGE[None], 1)

    def work(number: int) -> bool:
        outer: nn.Module = network
        for _ in range(1 + (wrapped + number) % 2):
            outer = Wrap(outer)
        layer = "network." * (1 + (wrapped + number) % 2) + "trunk.conv"
        found = scorecam.ScoreCAM(outer, layer, runtime="eager")(IMAGE[None], 1)
        return torch.equal(found, truth)

    assert in_threads(work, 80) == [True] * 80
    assert all(module.training for module in network.modules())


def test_overlapping_networks_never_wait_for_each_other_for_ever() -> None:
    """Three trunks, three networks of two of them each, explained in every order."""
    trunks = [trunk() for _ in range(3)]

    class Two(nn.Module):
        def __init__(self, one: Trunk, other: Trunk) -> None:
            super().__init__()
            self.one, self.other = one, other

        def forward(self, images: Tensor) -> Tensor:
            return (self.one(images) + self.other(images)).mean((2, 3))

    networks = [Two(trunks[i], trunks[(i + 1) % 3]) for i in range(3)]

    def nested(number: int) -> Tensor:
        inner = networks[(number + 1) % 3]

        def target(output: Tensor) -> Tensor:
            scorecam.layers(inner, IMAGE)  # a call within a call
            return output[:, 0]

        cam = scorecam.ScoreCAM(networks[number % 3], "one.relu", runtime="eager")
        return cam(IMAGE[None], target)

    maps = in_threads(nested, 24)
    assert all(torch.equal(found, maps[0]) for found in maps)


@pytest.mark.timeout(60)
def test_a_call_within_a_pass_does_not_wait_for_a_conversion() -> None:
    """The thread that converts may be waiting for this one's pass to end."""
    network, inner = Headed(trunk(), 0), Headed(trunk(), 1)
    held, release = threading.Event(), threading.Event()

    def convert() -> None:
        with conversions._CONVERTING:
            held.set()
            release.wait()

    def target(output: Tensor) -> Tensor:
        scorecam.explain(inner, IMAGE, 1, runtime="openvino")
        return output[:, 0]

    converting = threading.Thread(target=convert)
    converting.start()
    held.wait()
    try:
        scorecam.ScoreCAM(network, runtime="eager")(IMAGE[None], target)
    finally:
        release.set()
        converting.join()


@pytest.mark.needs("eval")
@pytest.mark.parametrize("method", ["smoothgrad:samples=4", "rise:masks=20", "random"])
def test_what_a_method_draws_is_its_own(method: str) -> None:
    """Another thread draws from torch's generator meanwhile, and gets what it would get alone."""
    network = Headed(trunk(), 0)
    truth = shared_networks._by(method)(network)
    torch.manual_seed(5)
    drawn: list[Tensor] = []

    def draw() -> None:
        for _ in range(400):
            drawn.append(torch.randn(10))  # noqa: PERF401  (one at a time, on purpose)

    drawer = threading.Thread(target=draw)
    drawer.start()
    maps = [shared_networks._by(method)(network) for _ in range(8)]
    drawer.join()
    torch.manual_seed(5)
    assert torch.equal(torch.cat(drawn), torch.cat([torch.randn(10) for _ in range(400)]))
    assert all(torch.equal(found, truth) for found in maps)


def test_torchcams_extractors_explain_what_their_own_thread_showed_the_model() -> None:
    network = Headed(trunk(), 0).eval()

    def extracted(number: int) -> Tensor:
        with torchcam.ScoreCAM(network, "trunk.relu", input_shape=(3, 20, 28)) as extractor:
            network(IMAGE[None] * (1 + number % 4))
            return extractor(1)[0]

    truths = [extracted(number) for number in range(4)]
    for number, found in enumerate(in_threads(extracted, 40)):
        assert torch.equal(found, truths[number % 4])
