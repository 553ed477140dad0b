"""The adapters of runtimes: one for every name that users may write."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import scorecam
from scorecam.backends.runtimes import openvino
from scorecam.backends.runtimes.known import EAGER, RUNTIMES
from scorecam.backends.runtimes.runtime import Runtime


def test_a_network_offers_itself_first_and_then_every_adapter() -> None:
    assert scorecam.open_model(nn.Flatten()).runtimes == (EAGER, *RUNTIMES)
    assert EAGER not in RUNTIMES


@pytest.mark.parametrize("runtime", RUNTIMES.values(), ids=RUNTIMES)
def test_auto_considers_only_runtimes_with_a_conversion_cost(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "CONVERTING", (0.5, 1e-8))
    priced = runtime.seconds_to_convert(10**6) < float("inf")
    assert runtime.automatic(torch.device("cpu")) == priced
