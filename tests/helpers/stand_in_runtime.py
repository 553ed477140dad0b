"""A stand-in for OpenVINO: converting is instant and counted, and anything can go wrong with it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam.backends.runtimes import agreement, openvino
from scorecam.backends.runtimes.runtime import Prepared
from scorecam.scoring import score

PRECISIONS = ["bfloat16", "float16", "float32"]


class Converter:
    """Converts by copying the network as it is, or what a wrapper such as `Spy` has inside.

    Attributes:
        made: the precision of every conversion, in order.
        passes: how many images each pass of a converted network had.
        refusal: what converting raises, if anything.
        spoil: (number of the pass, from 1; its scores) → what is answered instead.
        copies: whether a copy answers; else the network itself, read as it was when converted.
    """

    def __init__(self) -> None:
        self.made: list[str] = []
        self.passes: list[int] = []
        self.refusal: Exception | None = None
        self.spoil: Callable[[int, Tensor], Tensor] = lambda _number, scores: scores
        self.copies = True

    def __call__(
        self, prepared: Prepared, example: Tensor, precision: str
    ) -> Callable[[Tensor], Tensor]:
        self.made.append(precision)
        if self.refusal is not None:
            raise self.refusal
        network = prepared.network
        assert not any(module.training for module in network.modules())
        asked = copy.deepcopy(getattr(network, "network", network)) if self.copies else prepared

        def scores(images: Tensor) -> Tensor:
            assert 1 <= len(images) <= len(example)
            self.passes.append(len(images))
            with torch.no_grad():
                return self.spoil(len(self.passes), asked(images).float())

        return scores


def install(monkeypatch: pytest.MonkeyPatch) -> Converter:
    """Put a stand-in where OpenVINO was."""
    converter = Converter()
    monkeypatch.setattr(openvino, "converted", converter)
    monkeypatch.setattr(openvino.OpenVINO, "version", lambda _self: "0")
    monkeypatch.setattr(openvino.OpenVINO, "precisions", lambda _self: PRECISIONS)
    monkeypatch.setattr(openvino.OpenVINO, "installed", lambda _self: True)
    return converter


class Clock:
    """A time that only `Slow` networks spend, so that what pays is known on paper."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        time = mock.Mock(perf_counter=lambda: self.now, sleep=self._sleep, clock=self)
        for module in (agreement, score):
            monkeypatch.setattr(module, "time", time)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


class Slow(nn.Module):
    """A network that takes a second for each image. The clock is no part of the network."""

    def __init__(self, network: nn.Module, _clock: Clock) -> None:
        super().__init__()
        self.network = network

    @property
    def clock(self) -> Clock:
        return score.time.clock

    def forward(self, images: Tensor) -> Tensor:
        score.time.sleep(len(images))
        return self.network(images)


class Short(nn.Module):
    """Runs out of memory on pass number `at`, and in any pass of more than `limit` images."""

    def __init__(self, network: nn.Module, *, at: int = 0, limit: int = 1000) -> None:
        super().__init__()
        self.network = network
        self.watch = [at, limit]
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        at, limit = self.watch
        self.batches.append(len(images))
        if len(self.batches) == at or len(images) > limit:
            raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB.")
        return self.network(images)


def bank(network: nn.Module, x: Any, layer: str, **settings: Any) -> scorecam.ScoreBank:
    return scorecam.ScoreCAM(network, layer, **settings).bank(x)


def ran(found: scorecam.ScoreBank) -> tuple[str, str, tuple[str, ...]]:
    """What answered, in which precision, and what was remarked about it."""
    record = found.provenance
    return record.runtime, record.precision, record.remarks


def distance(one: scorecam.ScoreBank, other: scorecam.ScoreBank, *variants: str) -> float:
    """The furthest that any class's scaled map is from the other's.

    Of weighted sums, if nothing else is said: the root in `consensus` makes 1e-10 of a part 1e-5.
    """
    weighted = [name for name, each in scorecam.VARIANTS.items() if not each.field]
    assert torch.equal(one.asked, other.asked)
    furthest = 0.0
    for target in range(one.image_scores.shape[0]):
        for variant in variants or weighted:
            maps = (scorecam.scaled(each.heatmap(target, variant)) for each in (one, other))
            furthest = max(furthest, float(torch.sub(*maps).abs().max()))
    return furthest
