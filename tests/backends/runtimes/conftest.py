"""Fixtures of several tests of runtimes."""

from __future__ import annotations

import pytest
from torch import Tensor

from networks import InPlace, Network, build, images_for
from scorecam.backends.runtimes import openvino
from stand_in_runtime import Converter, equal_times, install


@pytest.fixture
def converter(monkeypatch: pytest.MonkeyPatch) -> Converter:
    return install(monkeypatch)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Converting takes no time: "auto" always does it. What is converted counts as faster."""
    equal_times(monkeypatch)
    monkeypatch.setattr(openvino, "CONVERTING", (0.0, 0.0))


@pytest.fixture
def network() -> Network:
    return build(InPlace)  # 9 channels, 7 of them live: the fill and 7 masked images


@pytest.fixture
def image(network: Network) -> Tensor:
    return images_for(network)[0]
