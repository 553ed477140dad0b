"""Values up and down: the map is on the regions that raise or lower the value, by construction."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import scorecam
from command_line import scorecam as command
from onnx_networks import exported
from scorecam.cli.records import explanation_item
from scorecam.errors import ModelError, SettingError, TargetError
from scorecam.tasks import Regress, find_task
from value_networks import Named, by_region, explained, image, network

MIXED = [[3.0, -2.0, -1.0]]
"""A value that region 0 raises, and regions 1 and 2 lower."""

TWO = [[3.0, -2.0, -1.0], [-1.0, 0.0, 1.0]]


# ── known answers ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_up_shows_what_raises_a_value_and_down_what_lowers_it(axes: int) -> None:
    shown = image(axes=axes)
    net = network(MIXED, axes=axes)
    up = explained(net, Regress(), shown=shown)
    down = explained(net, Regress(direction="down"), shown=shown)
    assert by_region(up.heatmap, shown) == [3, 0, 0]
    assert by_region(down.heatmap, shown) == [0, 2, 1]
    assert (up.target.score, down.target.score) == (0, 0)
    assert up.variant.name == down.variant.name == "centred"


def test_the_map_moves_with_the_region() -> None:
    moved = image().flip(1, 2)
    assert by_region(explained(network(MIXED), "regress", shown=moved).heatmap, moved) == [3, 0, 0]


def test_an_offset_of_the_value_does_not_change_the_map() -> None:
    offset = nn.Linear(1, 1)
    offset.weight.data.fill_(1.0)
    offset.bias.data.fill_(45.0)
    explanation = explained(network(MIXED, offset), Regress(unit="years"))
    assert explanation.target.value == "45 years"
    assert by_region(explanation.heatmap, image()) == [3, 0, 0]


def test_each_image_of_a_batch_has_its_own_map() -> None:
    shown = image()
    batch = torch.stack([shown, shown.flip(1, 2)])
    maps = scorecam.ScoreCAM(network(MIXED), "0.maps", task=Regress(direction="down"))(batch)
    assert [by_region(each, one) for each, one in zip(maps, batch, strict=True)] == [[0, 2, 1]] * 2


def test_a_part_of_the_output_is_read_by_name() -> None:
    net = Named(network(TWO), {"size": 1, "age": 1})
    for model, task in (
        (net, Regress(output="age")),
        (scorecam.open_model(net, output="age"), Regress()),
    ):
        explanation = explained(model, task, layer="net.0.maps")
        assert by_region(explanation.heatmap, image()) == [0, 0, 1]


def test_an_onnx_file_with_several_outputs_is_read_by_name(tmp_path: Path) -> None:
    net = Named(network(TWO), {"size": 1, "age": 1}, as_tuple=True)
    file = exported(net, image()[None], tmp_path / "net.onnx")
    model = scorecam.open_model(str(file))
    names = list(model.output(image()[None]))
    explanation = explained(model, Regress(output=names[1], direction="down"), layer=None)
    assert by_region(explanation.heatmap, image()) == [1, 0, 0]


# ── the value in words ───────────────────────────────────────────────────────────────────────


def test_the_text_shows_the_value_itself_for_both_directions() -> None:
    net = network([[3.0, -2.0, 11.3]])
    up = explained(net, Regress(unit="mm"))
    down = explained(net, Regress(unit="mm", direction="down"))
    assert (up.target.value, up.target.score) == ("12.3 mm", pytest.approx(12.3))
    assert (down.target.value, down.target.score) == ("12.3 mm (why low)", pytest.approx(-12.3))
    assert any("minus the values" in remark for remark in down.provenance.remarks)
    assert "12.3 mm" in repr(up)


def test_a_bank_from_a_file_has_the_values_in_words(tmp_path: Path) -> None:
    explanation = explained(network(TWO), Regress(unit="mm", names="a,b", direction="down"), "b")
    explanation.bank.save(tmp_path / "bank.safetensors")
    loaded = scorecam.ScoreBank.load(tmp_path / "bank.safetensors")
    for name in ("a", "b", None):
        assert loaded.target(name) == explanation.bank.target(name)
    assert loaded.target().name == "b"
    assert loaded.target().value == "0 mm (why low)"
    assert loaded.provenance.task == "regress"
    assert command("show", str(tmp_path / "bank.safetensors"), "--target", "a").code == 0


def test_other_values_and_contrasts_are_read_from_the_bank() -> None:
    explanation = explained(network(TWO), Regress(names=("a", "b")), "b")
    assert by_region(explanation.heatmap, image()) == [0, 0, 1]
    assert by_region(explanation.of("a").heatmap, image()) == [3, 0, 0]
    assert by_region(explanation.bank.contrast("b", "a"), image()) == [0, 2, 2]
    assert [each.target.name for each in explanation.top(2)] == ["a", "b"]


def test_the_explained_value_is_kept_when_the_bank_is_made_smaller() -> None:
    bank = explained(network([[5.0, 4.0, 3.0], *TWO]), Regress(names="a,b,c"), "c").bank.keep(1)
    assert bank.columns is not None
    assert bank.columns.tolist() == [2]
    assert by_region(bank.heatmap(), image()) == [0, 0, 1]


def test_the_record_of_a_value_has_no_probability(tmp_path: Path) -> None:
    item = explanation_item(
        explained(network(MIXED), Regress(names="age")), "x", tmp_path / "a", tmp_path / "b"
    )
    assert item["target"]["name"] == "age"
    assert item["target"]["probability"] is None
    assert item["head"] == "value"


# ── names and targets ────────────────────────────────────────────────────────────────────────


def test_the_first_of_several_values_is_explained_and_all_are_stated() -> None:
    explanation = explained(network(TWO), "regress")
    assert explanation.target.name == "value 0"
    [remark] = explanation.provenance.remarks
    assert remark.startswith("The model returns 2 values per image: value 0, value 1.")
    assert explained(network(TWO), "regress", "value 1").provenance.remarks == ()


def test_names_of_the_model_are_used() -> None:
    model = scorecam.open_model(network(TWO), labels=["x", "y"])
    assert explained(model, "regress", "Y").target.name == "y"


@pytest.mark.parametrize("classes", [3, 20])
def test_a_classifier_is_remarked_with_its_columns(classes: int) -> None:
    after = [nn.Softmax(1)] if classes < 20 else []
    net = network([[float(i % 3), 1.0, 2.0] for i in range(classes)], *after)
    remarks = explained(net, "regress").provenance.remarks
    assert any(f"These {classes} values may be the classes" in remark for remark in remarks)
    assert any(f"returns {classes} values per image: value 0" in remark for remark in remarks)


def test_options_may_be_texts_as_on_the_command_line() -> None:
    options = {"unit": "mm", "direction": "down", "names": "left, right", "recipe": "angle:cos"}
    task = find_task("regress", options)
    assert isinstance(task, Regress)
    assert task.names == ("left", "right")
    assert task == Regress("mm", "down", ("left", "right"), "angle:cos")


# ── saturated heads and baselines ────────────────────────────────────────────────────────────


def codes(explanation: scorecam.Explanation) -> set[str]:
    return {note.code for note in explanation.health}


def sentence(explanation: scorecam.Explanation, code: str) -> str:
    [found] = [note.sentence for note in explanation.health if note.code == code]
    return found


class Shifted(nn.Module):
    """A value after its head: tanh, clamp or sigmoid of a number far from zero."""

    def __init__(self, head: str, by: float) -> None:
        super().__init__()
        self.head, self.by = head, by

    def forward(self, values: Tensor) -> Tensor:
        shifted = values + self.by
        return shifted.clamp(0, 1) if self.head == "clamp" else getattr(torch, self.head)(shifted)


@pytest.mark.parametrize(("head", "by"), [("tanh", 20.0), ("clamp", 9.0), ("sigmoid", 40.0)])
def test_a_saturated_head_gives_an_empty_map_and_a_sentence(head: str, by: float) -> None:
    explanation = explained(network(MIXED, Shifted(head, by)), "regress")
    assert not explanation.heatmap.any()
    assert codes(explanation) >= {"flat"}
    assert "every masked photo has the same score" in sentence(explanation, "flat")
    assert "saturated" in sentence(explanation, "flat")


def test_a_nearly_saturated_head_is_noted_with_the_share() -> None:
    explanation = explained(network(MIXED, Shifted("tanh", 6.5)), "regress")
    assert explanation.heatmap.any()
    assert "constant" in codes(explanation)
    assert "changes by only 0.00" in sentence(explanation, "constant")
    assert "constant" not in codes(explained(network(MIXED, Shifted("tanh", 2.0)), "regress"))


def test_a_large_offset_with_a_small_change_is_noted() -> None:
    """A network that predicts 45 years whatever it sees."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 1),
    )  # fmt: skip
    net[4].bias.data.fill_(45.0)
    net[4].weight.data.mul_(0.01)
    explanation = explained(net, Regress(unit="years"), shown=torch.randn(1, 64, 48), layer=None)
    assert explanation.target.value.startswith("45")
    assert "constant" in codes(explanation)


class Together(nn.Module):
    """A value that is high only if all regions are visible, in proportion to their product."""

    def forward(self, values: Tensor) -> Tensor:
        return (4 * values.sum(1, keepdim=True)).exp()


def test_a_value_that_needs_the_whole_picture_is_noted() -> None:
    net = network([[1.0, 0, 0], [0, 0.9, 0], [0, 0, 0.8]], Together())
    explanation = explained(net, "regress")
    assert "baseline" in codes(explanation)
    assert "of the way from the empty image's score" in sentence(explanation, "baseline")
    assert "baseline" not in codes(explained(network(MIXED), "regress"))


def test_a_value_below_that_of_the_empty_image_suggests_the_other_direction() -> None:
    net = network([[-3.0, -2.0, -1.0]])
    assert "other direction=" in sentence(explained(net, "regress"), "below-fill")
    assert "below-fill" not in codes(explained(net, Regress(direction="down")))


# ── bad input ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"unit": "millimetres of mercury per hour"}, "at most 20 characters"),
        ({"unit": "m\nm"}, "not a unit"),
        ({"unit": 3}, "not a unit"),
        ({"direction": "left"}, "no direction 'left'"),
        ({"recipe": "angel"}, "'angle'"),
        ({"recipe": 3}, "no recipe 3"),
        ({"names": "a,,b"}, "empty"),
        ({"names": ("a", "a")}, "more than once"),
        ({"names": 3}, "not a list"),
    ],
)
def test_bad_options_are_refused_in_words(options: dict[str, object], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        find_task("regress", options)


def test_another_number_of_names_is_refused() -> None:
    with pytest.raises(SettingError, match="has 3 names, and there are 2 values"):
        explained(network(TWO), Regress(names="a,b,c"))


def test_a_target_that_is_no_value_is_refused() -> None:
    with pytest.raises(TargetError, match="depth"):
        explained(network(TWO), Regress(names="depth,width"), "dept")
    with pytest.raises(TargetError, match="place in the picture"):
        explained(network(TWO), "regress", (1.0, 2.0))


def test_values_that_are_not_finite_are_refused() -> None:
    for odd in (math.nan, math.inf):
        with pytest.raises(ModelError, match="NaN or infinity"):
            explained(network([[odd, 1.0, 1.0]]), Regress(direction="down"))


def test_a_map_is_refused_with_the_recipe_and_the_task_for_it() -> None:
    net = nn.Conv2d(3, 1, 1)
    with pytest.raises(TargetError, match=r"shape \(1, 1, 6, 9\).*count"):
        explained(net, "regress", layer=None)
    with pytest.raises(TargetError, match="integers"):
        explained(network(TWO, Rounded()), "regress")
    with pytest.raises(SettingError, match="at most 1,000"):
        explained(network([[1.0, 0, 0]] * 1001), "regress")


class Rounded(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values.long()
