"""Fixtures of several tests of the front door."""

from __future__ import annotations

import pytest
from torch import nn

import scorecam
import toy_models
from command_line import NAMES, PREPROCESS
from scorecam import Explanation, Model, Preprocess

PRE = Preprocess.from_dict(PREPROCESS)


@pytest.fixture
def net() -> nn.Module:
    return toy_models.tiny()


@pytest.fixture
def model(net: nn.Module) -> Model:
    return scorecam.open_model(net, preprocess=PRE, labels=NAMES)


@pytest.fixture
def explanation(model: Model) -> Explanation:
    return scorecam.explain(model, "cat.png", "lynx")
