"""One logit has two columns everywhere: 0 is the negative class, 1 the positive.

Labels are ordered: a list, a dict of indices, or `class_to_idx`, but not a set.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import scorecam
from scorecam import Preprocess, SettingError, TargetError
from scorecam.compat.maps import column_of
from scorecam.compat.official import ScoreCAM as Official
from scorecam.compat.torchcam import ScoreCAM as Torchcam
from scorecam.model.labels import read_labels
from scorecam.testing import Regions, regions

IMAGE = regions((4, 2, 1), 3, 5)
ROW = torch.tensor([[0.1, 0.3, 0.9]])
BUDGETS = ["exact", 2, "fast"]


def network(sign: float = 1.0, *, bounded: bool = False) -> nn.Module:
    end = nn.Sigmoid() if bounded else nn.Identity()
    return nn.Sequential(Regions(sign * ROW), end)


def explained(target: Any, labels: Any = None, **settings: Any) -> scorecam.Explanation:
    bounded = settings.pop("bounded", False)
    model = scorecam.open_model(network(bounded=bounded), labels=labels)
    return scorecam.explain(model, IMAGE, target, layer="0.maps", **settings)


@pytest.mark.parametrize("bounded", [False, True], ids=["logit", "probability"])
@pytest.mark.parametrize("budget", BUDGETS)
class TestOneColumn:
    def test_index_1_is_the_positive_class(self, budget: Any, bounded: bool) -> None:
        positive = explained(1, budget=budget, bounded=bounded)
        assert (positive.target.index, positive.target.name) == (1, "positive")
        assert positive.target.probability is not None
        assert positive.target.probability > 0.5
        named = explained("positive", budget=budget, bounded=bounded)
        assert torch.equal(positive.heatmap, named.heatmap)
        weights = positive.bank.weights(1)
        assert weights[2] > weights[0]  # the third region has more evidence for it

    def test_index_0_is_the_negative_class(self, budget: Any, bounded: bool) -> None:
        negative = explained(0, budget=budget, bounded=bounded)
        assert (negative.target.index, negative.target.name) == (0, "negative")
        assert negative.target.probability < 0.5
        weights = negative.bank.weights(0)
        assert weights[2] < weights[0]

    def test_the_prediction_still_follows_the_sign_of_the_logit(
        self, budget: Any, bounded: bool
    ) -> None:
        for sign, name in ((1.0, "positive"), (-1.0, "negative")):
            explanation = scorecam.explain(
                network(sign, bounded=bounded), IMAGE, layer="0.maps", budget=budget
            )
            assert explanation.target.name == name

    def test_two_labels_have_the_order_of_a_class_list(self, budget: Any, bounded: bool) -> None:
        for index, name in enumerate(["dog", "cat"]):
            labels: Any
            for labels in (["dog", "cat"], {"dog": 0, "cat": 1}, {0: "dog", 1: "cat"}):
                one = explained(index, labels, budget=budget, bounded=bounded)
                other = explained(name, labels, budget=budget, bounded=bounded)
                assert one.target == other.target
                assert one.target.name == name
        assert explained(None, ["dog", "cat"], budget=budget, bounded=bounded).target.name == "cat"


def test_a_contrast_shows_evidence_for_the_first_class() -> None:
    bank = explained(1).bank
    for_positive = bank.contrast(1, 0)
    torch.testing.assert_close(for_positive, bank.contrast("positive", "negative"))
    assert for_positive.any()
    assert not bank.contrast(0, 1).any()


def test_a_bank_with_the_earlier_order_keeps_its_names(tmp_path: Path) -> None:
    now = explained(1).bank
    flip = [1, 0]
    then = dataclasses.replace(
        now,
        scores=now.scores[:, flip],
        image_scores=now.image_scores[flip],
        fill_scores=now.fill_scores[flip],
        names=("positive", "negative"),
    )
    then.save(tmp_path / "bank.safetensors")
    loaded = scorecam.ScoreBank.load(tmp_path / "bank.safetensors")
    assert loaded.names == ("positive", "negative")
    assert loaded.target().name == "positive"
    for name in ("positive", "negative"):
        torch.testing.assert_close(loaded.weights(name), now.weights(name))


def test_other_packages_call_the_one_output_class_0() -> None:
    net = network()
    bank = scorecam.ScoreCAM(net, "0.maps").bank(IMAGE)
    assert column_of(bank, 0) == column_of(bank, None) == bank.target("positive").index
    with pytest.raises(TargetError, match="one output"):
        column_of(bank, 1)
    positive = bank.weights("positive")
    expected = (bank.activations * positive[:, None, None]).sum(0).relu()
    with Torchcam(net, "0.maps", input_shape=IMAGE.shape) as extractor:
        net(IMAGE[None])
        one = extractor(0)[0]
    assert one.argmax() == expected.argmax()
    theirs = Official({"arch": net, "layer_name": "0.maps"})(IMAGE[None], 0)
    torch.testing.assert_close(theirs[0, 0], scorecam.scaled(expected))


@pytest.mark.needs("eval")
@pytest.mark.parametrize("labels", [None, ["dark", "light"], ["light"]], ids=str)
def test_the_labels_of_a_binary_data_set_are_the_columns(tmp_path: Path, labels: Any) -> None:
    random = np.random.default_rng(0)
    for number in range(4):
        name = ("dark", "light")[number % 2]
        pixels = random.integers(0, 40, (8, 8, 3), dtype=np.uint8) + 200 * (number % 2)
        (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"photos/{name}/{number}.png")
    preprocess = Preprocess(
        size=(8, 8),
        fit="squash",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="nearest",
    )
    net = Regions(0.01 * torch.ones(1, 3))
    model = scorecam.open_model(net, preprocess=preprocess, labels=labels)
    scorecam.evaluate(
        model,
        tmp_path / "photos",
        "scorecam",
        out=tmp_path / "run",
        metrics="quick",
        runtime="eager",
    )
    result = [json.loads(p.read_text("utf-8")) for p in tmp_path.glob("run/items/**/*.json")]
    assert len(result) == 4
    for record in result:
        light = record["label"] == "light"
        assert record["predicted"]["index"] == int(light)
        assert record["target"]["index"] == int(light) or labels == ["light"]
    config = json.loads((tmp_path / "run/run.json").read_text("utf-8"))
    assert config["sides"] == "negative, positive"


# ── labels ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("labels", [{"cat", "dog"}, frozenset({"cat", "dog"})])
def test_a_set_of_labels_is_refused(labels: Any) -> None:
    with pytest.raises(SettingError, match="no order") as raised:
        read_labels(labels)
    assert "list" in raised.value.do


@pytest.mark.parametrize(
    "labels",
    [
        ["ant", "bee", "cat"],
        ("ant", "bee", "cat"),
        {"bee": 1, "ant": 0, "cat": 2},
        {1: "bee", 0: "ant", 2: "cat"},
        {"1": "bee", "0": "ant", "2": "cat"},
        {"bee": np.int64(1), "ant": np.int64(0), "cat": np.int64(2)},
        {np.int64(1): "bee", np.int64(0): "ant", np.int64(2): "cat"},
        np.array(["ant", "bee", "cat"]),
        {"ant": None, "bee": None, "cat": None}.keys(),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_labels_are_a_list_or_either_kind_of_dict(labels: Any) -> None:
    assert read_labels(labels) == ("ant", "bee", "cat")


def test_class_to_idx_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "class_to_idx.json"
    path.write_text('{"bee": 1, "ant": 0}', "utf-8")
    assert read_labels(path) == ("ant", "bee")


def test_numeric_class_names_in_class_to_idx_are_names() -> None:
    assert read_labels({"0": 0, "1": 1, "10": 2, "2": 3}) == ("0", "1", "10", "2")


@pytest.mark.parametrize(
    ("labels", "phrase"),
    [
        ({"ant": 0, "bee": 2}, "1 is missing"),
        ({"ant": 1, "bee": 2}, "0 is missing"),
        ({"ant": 0, "bee": 0}, "the index 0 has several names"),
        ({0: "ant", "0": "bee"}, "the index 0 has several names"),
        ({0: "ant", 7: "bee"}, "1 is missing"),
        ({"ant": -1, "bee": 0}, "is missing"),
        ({"ant": 0.0, "bee": 1.0}, "nor a dict of names and indices"),
        ({"ant": False, "bee": True}, "nor a dict of names and indices"),
        ({True: "ant", False: "bee"}, "not an index"),
        ({"one": "ant"}, "not an index"),
        ({0: "ant", 1: 5}, "nor a dict of names and indices"),
        (b"ant", "bytes"),
    ],
    ids=str,
)
def test_invalid_label_dicts_are_refused(labels: Any, phrase: str) -> None:
    with pytest.raises(SettingError) as raised:
        read_labels(labels)
    assert phrase in str(raised.value)
    assert len(str(raised.value)) <= 600
