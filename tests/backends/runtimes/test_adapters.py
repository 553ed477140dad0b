"""The adapters of runtimes: one for every name that users may write."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from scorecam.backends.runtimes import openvino
from scorecam.backends.runtimes.known import EAGER, RUNTIMES
from scorecam.backends.runtimes.runtime import Runtime
from scorecam.model import runtimes


def test_every_name_but_auto_and_eager_has_an_adapter() -> None:
    assert {"auto", EAGER, *RUNTIMES} == set(runtimes.RUNTIMES)
    assert [runtime.name for runtime in RUNTIMES.values()] == list(RUNTIMES)


@pytest.mark.parametrize("runtime", RUNTIMES.values(), ids=RUNTIMES)
def test_auto_considers_only_runtimes_with_a_conversion_cost(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "CONVERTING", (0.5, 1e-8))
    priced = runtime.seconds_to_convert(10**6) < float("inf")
    assert runtime.automatic(torch.device("cpu")) == priced


def test_the_names_of_runtimes_are_known_without_torch() -> None:
    code = "import sys, scorecam.model.runtimes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
