"""Evidence about maps of boxes and regions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import scorecam
from detectors import COLOURS, FORMS, Spots, picture
from scorecam.explanation.explanation import Explanation
from scorecam.model.model import Model
from scorecam.tasks import Detect
from scorecam.trust.criteria import CRITERIA, PLACE_CRITERIA
from scorecam.trust.verdict import Trust
from spot_photos import SIZE

CELLS = {(1, 2): (0, 0.9), (6, 9): (1, 0.6), (2, 9): (2, 0.8), (6, 2): (0, 0.5)}


@pytest.fixture
def detector() -> Model:
    return scorecam.open_model(Spots(FORMS["yolo"]).eval(), labels=COLOURS, task=Detect())


def explained(model: Model, target: str = "red") -> Explanation:
    return scorecam.explain(model, picture(CELLS, SIZE), target, layer="maps")


def values(trust: Trust) -> dict[str, Any]:
    return {each.code: each.value for each in trust.evidence}


def with_boxes(explanation: Explanation, boxes: Tensor) -> Explanation:
    return replace(explanation, bank=replace(explanation.bank, boxes=boxes))


def test_a_map_in_its_box_passes(detector: Model) -> None:
    trust = scorecam.check(detector, explained(detector))

    assert values(trust)["cells"] == pytest.approx(1)
    assert values(trust)["inside"] > 5
    assert values(trust)["own"] > 5


def test_a_map_of_a_box_far_smaller_than_a_cell_is_refused(detector: Model) -> None:
    explanation = explained(detector)
    tiny = explanation.bank.boxes.clone()  # type: ignore[union-attr]
    tiny[0] = torch.tensor([18.0, 10.0, 21.0, 13.0])

    trust = scorecam.check(detector, with_boxes(explanation, tiny))

    [cells] = [each for each in trust.evidence if each.code == "cells"]
    assert (cells.value, cells.state) == (pytest.approx(9 / 64), "failed")
    assert trust.verdict == "don't show"
    assert "chosen, not fitted" in cells.sentence


def test_a_map_elsewhere_is_doubted_but_not_refused_for_that_alone(detector: Model) -> None:
    explanation = explained(detector)
    moved = explanation.bank.boxes.clone()  # type: ignore[union-attr]
    moved[0] = torch.tensor([40.0, 24.0, 48.0, 32.0])

    found = {
        each.code: each
        for each in scorecam.check(detector, with_boxes(explanation, moved)).evidence
    }

    assert found["inside"].value == pytest.approx(0, abs=0.05)
    assert found["inside"].state == "weak"
    assert found["inside"].doubt == pytest.approx(0.5, abs=0.02)


def test_a_map_like_those_of_the_other_boxes_is_doubted(detector: Model) -> None:
    explanation = explained(detector)
    same = replace(explanation.bank, scores=explanation.bank.scores[:, :1].expand(-1, 4).clone())

    trust = scorecam.check(detector, replace(explanation, bank=same), without=["head", "moves"])

    assert values(trust)["own"] == pytest.approx(1)
    assert values(trust)["contrast"] == pytest.approx(1)


def test_a_region_is_a_place_like_a_box(detector: Model) -> None:
    explanation = explained(detector)
    masks = torch.zeros(4, *SIZE, dtype=torch.bool)
    masks[0, 8:16, 16:24] = True
    regions = replace(explanation.bank, boxes=None, masks=masks)

    boxes = values(scorecam.check(detector, explanation))
    trust = values(scorecam.check(detector, replace(explanation, bank=regions)))

    assert trust["cells"] == boxes["cells"]
    assert trust["inside"] == pytest.approx(boxes["inside"])


def test_columns_of_a_task_are_not_compared_as_classes(detector: Model) -> None:
    trust = scorecam.check(detector, explained(detector))

    unmeasured = {each.code: each for each in trust.evidence if each.value is None}
    assert {"standing", "rest", "elsewhere", "steady", "blind"} <= unmeasured.keys()
    assert "no choice between classes" in unmeasured["standing"].sentence


def test_the_score_of_the_box_alone_decides_about_random_maps(detector: Model) -> None:
    alone = scorecam.check(detector, explained(detector))

    # Without the map's pixels, nothing of the score of the box is left, and with them all of it.
    assert values(alone)["random"] > 0.5


def test_classes_have_no_evidence_about_places() -> None:
    model = scorecam.open_model(
        torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.Flatten(2), Mean())
    )
    explanation = scorecam.explain(model, torch.rand(3, 12, 16))

    trust = scorecam.check(model, explanation)

    assert {each.code for each in trust.evidence} >= CRITERIA.keys()
    assert PLACE_CRITERIA.keys().isdisjoint(each.code for each in trust.evidence)


def test_evidence_about_places_can_be_left_out(detector: Model) -> None:
    trust = scorecam.check(detector, explained(detector), without=["cells", "own"])

    assert "inside" in values(trust)
    assert {"cells", "own"}.isdisjoint(values(trust))


class Mean(torch.nn.Module):
    """The mean of each channel."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(-1)
