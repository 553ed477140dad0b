"""All labels come from one bank, and heads of each kind become the right probabilities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
from onnx_networks import exported
from scorecam.errors import ModelError, SettingError, TargetError
from scorecam.tasks import MultiLabel, find_task
from value_networks import Named, by_region, explained, image, network

LABELS = [[4.0, -1.0, -1.0], [-1.0, 2.0, -1.0], [-9.0, -9.0, -9.0]]
"""Label 0 is in region 0, label 1 in region 1; label 2 is absent."""

HEADS = {"colour": 3, "shape": 2}

ROWS = [[4.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0], [0.0, 5.0, 0.0], [1.0, 0.0, 1.0]]
"""Three rows of colours, then two of shapes."""

NAMES = {"colour": ("red", "green", "blue"), "shape": ("round", "square")}

LAYER = "net.0.maps"


def two_heads(**options: Any) -> nn.Module:
    return Named(network(ROWS), HEADS, **options)


def centred(weights: Tensor) -> list[float]:
    """The map by region of weights that are known by region."""
    return [round(float(each), 4) for each in (weights - weights.mean()).relu()]


def remarks(explanation: scorecam.Explanation) -> str:
    return " ".join(explanation.provenance.remarks)


# ── one head ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_each_label_has_its_own_map_from_one_bank(axes: int) -> None:
    shown = image(axes=axes)
    explanation = explained(network(LABELS, axes=axes), "multilabel", shown=shown)
    assert explanation.bank.head == "sigmoid"
    assert explanation.target.name == "label 0"
    assert explanation.target.probability == pytest.approx(torch.tensor(2.0).sigmoid().item())
    for label in (0, 1):
        expected = torch.tensor(LABELS[label]).sigmoid()
        found = by_region(explanation.of(label).heatmap, shown)
        assert found == pytest.approx(centred(expected), abs=1e-4)


def test_a_network_that_ends_in_a_sigmoid_gives_the_same_map() -> None:
    logits = explained(network(LABELS), "multilabel", 1)
    ended = explained(network(LABELS, nn.Sigmoid()), "multilabel", 1)
    assert (logits.bank.head, ended.bank.head) == ("sigmoid", "probabilities")
    torch.testing.assert_close(ended.heatmap, logits.heatmap)
    assert ended.target.probability == pytest.approx(logits.target.probability)
    assert "gives numbers outside 0 to 1" in remarks(logits)
    assert "The output gives probabilities." in remarks(ended)


def test_numbers_that_may_be_probabilities_are_taken_as_such_and_stated() -> None:
    class Bounded(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0.2 + 0.1 * x / (1 + x.abs())

    explanation = explained(network(LABELS, Bounded()), "multilabel")
    assert explanation.bank.head == "probabilities"
    assert "numbers from 0 to 1, taken as probabilities" in remarks(explanation)
    given = explained(network(LABELS, Bounded()), MultiLabel(heads="sigmoid"))
    assert given.bank.head == "sigmoid"
    assert "labels that can occur together" in remarks(given)


def test_a_classifier_is_remarked() -> None:
    explanation = explained(network(LABELS, nn.Softmax(1)), "multilabel")
    assert "add up to one" in remarks(explanation)
    assert "leave task= (--task) out" in remarks(explanation)


def test_a_single_label_is_explained_with_its_opposite() -> None:
    explanation = explained(network(LABELS[:1]), MultiLabel(names="mask"))
    assert explanation.bank.names == ("not mask", "mask")
    assert explanation.target.name == "mask"
    assert by_region(explanation.heatmap, image())[1:] == [0, 0]
    without = explained(network(LABELS[:1]), MultiLabel(names="mask"), "not mask")
    assert by_region(without.heatmap, image())[0] == 0
    assert without.bank.target().name == "not mask"


def test_present_labels_are_listed() -> None:
    task = find_task("multilabel", {"threshold": "0.4", "names": "cat, dog, bird"})
    said = remarks(explained(network(LABELS), task))
    assert "2 of 3 labels have a probability of at least 0.4: cat 88%, dog 50%." in said
    assert "labels have" not in remarks(explained(network(LABELS), "multilabel"))


def test_an_absent_label_is_noted_as_improbable_only_where_a_guess_is_known() -> None:
    absent = explained(network(LABELS), "multilabel", 2)
    assert "improbable" in {note.code for note in absent.health}
    heads = explained(two_heads(), "multilabel", "colour: 2", layer=LAYER)
    assert "improbable" not in {note.code for note in heads.health}


# ── several heads ────────────────────────────────────────────────────────────────────────────


def test_each_head_has_its_own_softmax() -> None:
    explanation = explained(two_heads(), MultiLabel(NAMES), "red", layer=LAYER)
    colours = torch.tensor(ROWS)[:3].softmax(0)
    shapes = torch.tensor(ROWS)[3:].softmax(0)
    assert explanation.bank.head == "probabilities"
    assert explanation.bank.names == (
        "colour: red", "colour: green", "colour: blue", "shape: round", "shape: square",
    )  # fmt: skip
    assert by_region(explanation.heatmap, image()) == pytest.approx(centred(colours[0]), abs=1e-4)
    square = explanation.of("square").heatmap
    assert by_region(square, image()) == pytest.approx(centred(shapes[1]), abs=1e-4)
    assert remarks(explanation).count("taken as those of one label") == 1
    assert "heads='colour=sigmoid'" in remarks(explanation)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("colour: green", "colour: green"),
        ("Green", "colour: green"),
        ("colour", "colour: red"),
        ("SHAPE", "shape: round"),
        (4, "shape: square"),
        (None, "shape: round"),
    ],
)
def test_targets_are_labels_heads_or_numbers(target: Any, name: str) -> None:
    explanation = explained(two_heads(), MultiLabel(NAMES), target, layer=LAYER)
    assert explanation.target.name == name
    assert explanation.bank.target(target).name == name


def test_a_label_of_two_heads_needs_its_head() -> None:
    names = {"colour": ("none", "green", "blue"), "shape": ("none", "square")}
    with pytest.raises(TargetError, match="Use the index: 0, 3"):
        explained(two_heads(), MultiLabel(names), "none", layer=LAYER)
    one = explained(two_heads(), MultiLabel(names), "shape: none", layer=LAYER)
    assert one.target.index == 3


def test_softmax_and_sigmoid_heads_are_mixed() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(ROWS)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            z = self.net(x)
            return {"colour": z[:, :3].softmax(1), "shape": z[:, 3:]}

    task = MultiLabel(NAMES, heads={"colour": "auto", "shape": "sigmoid"})
    explanation = explained(Mixed(), task, "square", layer=LAYER)
    shapes = torch.tensor(ROWS)[4].sigmoid()
    assert by_region(explanation.heatmap, image()) == pytest.approx(centred(shapes), abs=1e-4)
    green = torch.tensor(ROWS)[:3].softmax(0)[1]
    found = by_region(explanation.of("green").heatmap, image())
    assert found == pytest.approx(centred(green), abs=1e-4)
    assert "The head 'colour' gives probabilities." in remarks(explanation)
    assert "The head 'shape' gives logits of labels that can occur" in remarks(explanation)


def test_only_the_named_heads_are_used() -> None:
    explanation = explained(two_heads(), MultiLabel(heads="shape"), layer=LAYER)
    assert explanation.bank.names == ("shape: 0", "shape: 1")
    both = explained(two_heads(), MultiLabel(heads="shape=logits, colour=sigmoid"), layer=LAYER)
    assert both.bank.names is not None
    assert both.bank.names[:3] == ("shape: 0", "shape: 1", "colour: 0")


def test_heads_of_a_tuple_are_numbered() -> None:
    explanation = explained(two_heads(as_tuple=True), MultiLabel(), "head 1", layer=LAYER)
    assert explanation.target.name == "head 1: 0"
    chosen = explained(two_heads(as_tuple=True), MultiLabel(heads=["1"]), layer=LAYER)
    assert chosen.bank.names == ("head 1: 0", "head 1: 1")


def test_names_of_all_labels_are_split_among_the_heads() -> None:
    text = "colour: red, green, blue; shape: round, square"
    flat = "red, green, blue, round, square"
    model = scorecam.open_model(two_heads(), labels=flat.split(", "))
    for net, task in (
        (two_heads(), MultiLabel(text)),
        (two_heads(), MultiLabel(flat)),
        (model, MultiLabel()),
    ):
        assert explained(net, task, "square", layer=LAYER).target.name == "shape: square"


def test_the_heads_of_an_onnx_file_are_found_by_name(tmp_path: Path) -> None:
    file = exported(two_heads(as_tuple=True), image()[None], tmp_path / "heads.onnx")
    model = scorecam.open_model(str(file))
    names = list(model.output(image()[None]))
    task = MultiLabel(dict(zip(names, NAMES.values(), strict=True)))
    explanation = explained(model, task, "square", layer=None)
    alone = explained(two_heads(), MultiLabel(NAMES), "square", layer=LAYER)
    torch.testing.assert_close(explanation.heatmap, alone.heatmap, rtol=0, atol=1e-5)
    assert explanation.target.name == f"{names[1]}: square"


@pytest.mark.parametrize("end", ["sigmoid", ""])
def test_an_onnx_file_with_or_without_its_sigmoid_gives_the_same_map(
    tmp_path: Path, end: str
) -> None:
    net = network(LABELS, *([nn.Sigmoid()] if end else []))
    model = scorecam.open_model(str(exported(net, image()[None], tmp_path / "net.onnx")))
    explanation = explained(model, MultiLabel("cat, dog, bird"), "dog", layer=None)
    alone = explained(network(LABELS), MultiLabel("cat, dog, bird"), "dog")
    torch.testing.assert_close(explanation.heatmap, alone.heatmap, rtol=0, atol=1e-5)
    assert explanation.bank.head == ("probabilities" if end else "sigmoid")


def test_the_default_layer_is_the_trunk_of_all_heads() -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())

    class Branched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = trunk
            self.colour, self.shape = nn.Linear(6, 3), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            found = self.trunk(x).mean((2, 3))
            return {"colour": self.colour(found), "shape": self.shape(found)}

    assert explained(Branched(), "multilabel", layer=None).layer == "trunk"


def test_a_bank_from_a_file_has_every_head(tmp_path: Path) -> None:
    bank = explained(two_heads(), MultiLabel(NAMES), "green", layer=LAYER).bank
    bank.save(tmp_path / "bank.safetensors")
    loaded = scorecam.ScoreBank.load(tmp_path / "bank.safetensors")
    assert loaded.target().name == "colour: green"
    torch.testing.assert_close(loaded.heatmap("red"), bank.heatmap("red"), rtol=0, atol=1e-2)
    assert json.loads(json.dumps(loaded.provenance.task)) == "multilabel"


def test_ten_labels_cost_the_passes_of_one() -> None:
    rows = [[float(i), 1.0, -1.0] for i in range(10)]
    one = explained(network(rows[:2]), MultiLabel(heads="sigmoid")).provenance.forward_passes
    ten = explained(network(rows), MultiLabel(heads="sigmoid")).provenance.forward_passes
    assert ten == one


# ── bad input ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": 1.5}, "not a probability"),
        ({"threshold": "half"}, "not a probability"),
        ({"threshold": True}, "not a probability"),
        ({"heads": 3}, "not a list of heads"),
        ({"heads": {}}, "not a list of heads"),
        ({"heads": {"colour": "softmax"}}, "no kind of head 'softmax'"),
        ({"heads": "colour=logit"}, "no kind of head 'logit'"),
        ({"heads": ",colour"}, "without a name"),
        ({"names": {3: "red"}}, "without a name"),
        ({"names": "colour: red, red"}, "more than once"),
    ],
)
def test_bad_options_are_refused_in_words(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        find_task("multilabel", options)


@pytest.mark.parametrize(
    ("task", "error", "words"),
    [
        (MultiLabel("a,b"), SettingError, "2 names, and the model has 5 labels in 2 heads"),
        (MultiLabel({"size": ("big",)}), SettingError, "labels of a head 'size'"),
        (MultiLabel({"shape": ("big",)}), SettingError, "1 names for 'shape', which has 2"),
        (MultiLabel(heads="shpe"), TargetError, "no head 'shpe'.*'shape'"),
        (MultiLabel(output="size"), TargetError, "no entry 'size'"),
    ],
)
def test_options_that_do_not_fit_the_output_are_refused(
    task: MultiLabel, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        explained(two_heads(), task, layer=LAYER)


def test_outputs_without_heads_are_refused() -> None:
    with pytest.raises(TargetError, match=r"shape \(1, 2, 6, 9\), holds no heads"):
        explained(nn.Conv2d(3, 2, 1), "multilabel", layer=None)
    with pytest.raises(TargetError, match="place in the picture"):
        explained(two_heads(), "multilabel", (1.0, 2.0), layer=LAYER)
    with pytest.raises(TargetError, match="colour: red, colour: green"):
        explained(two_heads(), MultiLabel(NAMES), "rde", layer=LAYER)


def test_probabilities_that_are_not_finite_are_refused() -> None:
    odd = network([[float("nan"), 1.0, 1.0], [1.0, 1.0, 1.0]])
    with pytest.raises(ModelError, match="NaN or infinity"):
        explained(odd, "multilabel")
