"""An explanation of several inputs holds the masked one, and the others as they were given."""

from __future__ import annotations

import pytest
import torch

import scorecam
import toy_models
from scorecam.methods.names import heatmaps, parse_methods

INPUTS = {"rgb": torch.rand(1, 3, 16, 16), "depth": torch.rand(1, 1, 16, 16)}


def explained(name: str) -> tuple[scorecam.Model, scorecam.Explanation]:
    model = scorecam.open_model(toy_models.two_streams(), masked_input=name)
    return model, scorecam.explain(model, INPUTS, 0, variant="official", runtime="eager")


@pytest.mark.parametrize("name", ["rgb", "depth"])
def test_the_image_is_the_masked_input(name) -> None:
    _, explanation = explained(name)

    assert explanation.image is not None
    assert torch.equal(explanation.image, INPUTS[name][0])


def test_the_check_runs_the_network_with_its_other_inputs() -> None:
    model, explanation = explained("rgb")

    trust = scorecam.check(model, explanation)

    assert {each.code for each in trust.evidence} >= {"standing", "random", "moves"}
    assert trust.verdict in ("usable", "weak", "don't show")


@pytest.mark.needs("eval")
def test_other_methods_explain_the_same_input() -> None:
    model, explanation = explained("rgb")

    maps = heatmaps(model, explanation, parse_methods("gradcam,gradient,scorecam"))

    assert {tuple(each.shape) for each in maps.values()} == {(16, 16)}
    assert torch.allclose(maps["scorecam"], explanation.heatmap, atol=1e-5)
