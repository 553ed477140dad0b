"""A stand-in for OpenVINO: conversions are instant and counted, and can be made to fail."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam.backends.runtimes import openvino, timing
from scorecam.backends.runtimes.runtime import Prepared
from scorecam.scoring import score

PRECISIONS = ["bfloat16", "float16", "float32"]


class Converter:
    """Converts by copying the network, or the network inside a wrapper such as `Spy`.

    Attributes:
        made: the precision of every conversion, in order.
        passes: the number of images in each pass of a converted network.
        refusal: an exception that every conversion raises, or None.
        spoil: (number of the pass, from 1; its scores) → the scores to return instead.
        copies: whether to run a copy; otherwise the network itself, in its converted state.
    """

    def __init__(self) -> None:
        self.made: list[str] = []
        self.passes: list[int] = []
        self.refusal: Exception | None = None
        self.spoil: Callable[[int, Tensor], Tensor] = lambda _number, scores: scores
        self.copies = True

    def __call__(
        self, prepared: Prepared, example: Tensor, precision: str, _place: object
    ) -> Callable[[Tensor], Tensor]:
        self.made.append(precision)
        if self.refusal is not None:
            raise self.refusal
        network = prepared.network
        assert not any(module.training for module in network.modules())
        converted = copy.deepcopy(getattr(network, "network", network)) if self.copies else prepared

        def scores(images: Tensor) -> Tensor:
            assert 1 <= len(images) <= len(example)
            self.passes.append(len(images))
            with torch.no_grad():
                return self.spoil(len(self.passes), converted(images).float())

        return scores


def install(monkeypatch: pytest.MonkeyPatch) -> Converter:
    """Replace OpenVINO by a stand-in."""
    converter = Converter()
    monkeypatch.setattr(openvino, "converted", converter)
    monkeypatch.setattr(openvino.OpenVINO, "version", lambda _self: "0")
    monkeypatch.setattr(openvino.OpenVINO, "precisions", lambda _self: PRECISIONS)
    monkeypatch.setattr(openvino.OpenVINO, "installed", lambda _self: True)
    return converter


class Clock:
    """A clock that only `Slow` networks advance, so that tests know when a conversion pays off."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        time = mock.Mock(perf_counter=lambda: self.now, sleep=self._sleep, clock=self)
        for module in (timing, score):
            monkeypatch.setattr(module, "time", time)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


def equal_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every timed pass takes a microsecond, so that the order of candidates is always the same.

    Converted networks come first, as they compute more rows per pass; then half precision.
    """
    ticks = itertools.count()
    monkeypatch.setattr(timing, "time", mock.Mock(perf_counter=lambda: 1e-6 * next(ticks)))


class Slow(nn.Module):
    """A network that takes a second per image; the clock is not an attribute of the network."""

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


def ran(bank: scorecam.ScoreBank) -> tuple[str, str, tuple[str, ...]]:
    """The runtime, the precision and the remarks of a bank."""
    record = bank.provenance
    return record.runtime, record.precision, record.remarks


def distance(one: scorecam.ScoreBank, other: scorecam.ScoreBank, *variants: str) -> float:
    """The largest difference between the scaled maps of two banks, over all classes.

    By default over the variants that do not amplify rounding. The root in `consensus` turns a
    difference of 1e-10 into 1e-5, and `centred` shows differences of the scores.
    """
    weighted = [
        name
        for name, variant in scorecam.VARIANTS.items()
        if not variant.field and name != "centred"
    ]
    assert torch.equal(one.asked, other.asked)
    largest = 0.0
    for target in range(one.image_scores.shape[0]):
        for variant in variants or weighted:
            maps = (scorecam.scaled(bank.heatmap(target, variant)) for bank in (one, other))
            largest = max(largest, float(torch.sub(*maps).abs().max()))
    return largest
