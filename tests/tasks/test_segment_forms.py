"""The class maps are found in every form of output, and their numbers mean probabilities."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam.model.task_columns import TaskColumns
from scorecam.tasks import Segment
from segmenters import FORMS, Forms

IMAGE = torch.randn(1, 3, 12, 20, generator=torch.Generator().manual_seed(1))


class Returns(nn.Module):
    """A network that returns what a function makes of its maps."""

    def __init__(self, function: Callable[[Tensor], Any], classes: int = 4, **options: Any) -> None:
        super().__init__()
        self.maps = Forms("logits", classes, **options)
        self.function = function

    def forward(self, images: Tensor) -> Any:
        return self.function(self.maps(images))


def found(net: nn.Module, target: Any = None, task: Segment | None = None) -> TaskColumns:
    model = scorecam.open_model(net.eval())
    return (task or Segment()).columns(model, IMAGE, target)


def scores(net: nn.Module, columns: TaskColumns) -> Tensor:
    with torch.no_grad():
        return columns.readout(net(IMAGE))[0]


def by_hand(chances: Tensor) -> dict[int, float]:
    """The mean probability of each class over the pixels where it is the largest."""
    labels = chances.argmax(0)
    return {int(each): float(chances[each][labels == each].mean()) for each in labels.unique()}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_scores(form: str) -> None:
    net = Forms(form)
    columns = found(net)
    with torch.no_grad():
        expected = by_hand(net.logits(IMAGE)[0].softmax(0))
    assert {f"class {each}" for each in expected} == set(columns.names)
    wanted = [expected[int(name.split()[1])] for name in columns.names]
    torch.testing.assert_close(scores(net, columns), torch.tensor(wanted))


def test_the_last_axis_is_that_of_the_classes_only_if_the_others_fit() -> None:
    assert "last axis" in " ".join(found(Forms("channels last")).remarks)
    assert "last axis" not in " ".join(found(Forms("logits")).remarks)


@pytest.mark.parametrize("single", [True, False], ids=["b 1 h w", "b h w"])
def test_one_map_is_a_sigmoid_with_a_background(single: bool) -> None:
    net = Returns(lambda z: z if single else z[:, 0], classes=1)
    columns = found(net)
    with torch.no_grad():
        chance = net.maps(IMAGE)[0, 0].sigmoid()
    assert set(columns.names) == {"background", "foreground"}
    assert columns.names[columns.column] == "foreground"
    value = scores(net, columns)[columns.column]
    torch.testing.assert_close(value, chance[chance > 0.5].mean())
    rest = scores(net, columns)[1 - columns.column]
    torch.testing.assert_close(rest, 1 - chance[chance <= 0.5].mean())


def test_one_map_of_probabilities_is_taken_as_it_is() -> None:
    net = Returns(torch.sigmoid, classes=1)
    columns = found(net)
    with torch.no_grad():
        chance = net(IMAGE)[0, 0]
    value = scores(net, columns)[columns.column]
    torch.testing.assert_close(value, chance[chance > 0.5].mean())
    assert "which are probabilities" in columns.remarks[0]
    assert columns.passes == 3, "strong inputs show that the numbers never leave [0, 1]"


def test_small_logits_are_not_taken_as_probabilities() -> None:
    net = Returns(lambda z: z.abs() / 100, classes=1)
    assert "with a sigmoid" in found(net).remarks[0]


def test_independent_classes_overlap() -> None:
    net = Forms("logits")
    columns = found(net, task=Segment(head="sigmoid"))
    with torch.no_grad():
        chances = net.logits(IMAGE)[0].sigmoid()
    areas = (chances > 0.5).flatten(1).sum(1)
    assert columns.names == tuple(f"class {each}" for each in areas.argsort(descending=True))
    assert columns.masks is not None
    assert int(columns.masks.sum(0).max()) > 1
    for value, name in zip(scores(net, columns), columns.names, strict=True):
        chance = chances[int(name.split()[1])]
        torch.testing.assert_close(value, chance[chance > 0.5].mean())


def test_the_head_of_the_model_counts() -> None:
    net = Forms("logits").eval()
    columns = Segment().columns(scorecam.open_model(net, head="sigmoid"), IMAGE, None)
    assert columns.names == found(net, task=Segment(head="sigmoid")).names
    torch.testing.assert_close(
        scores(net, columns), scores(net, found(net, task=Segment(head="sigmoid")))
    )


def test_queries_are_read_as_their_own_segmentation_does() -> None:
    generator = torch.Generator().manual_seed(5)
    classes = torch.randn(1, 7, 4, generator=generator)

    def queries(z: Tensor) -> Any:
        return SimpleNamespace(class_queries_logits=classes, masks_queries_logits=z)

    net = Returns(queries, classes=7, stride=2)
    columns = found(net, (0, 0, 10, 6), Segment(label=2))
    with torch.no_grad():
        masks = net.maps(IMAGE).sigmoid()
    maps = torch.einsum("bqc,bqhw->bchw", classes.softmax(-1)[..., :-1], masks)
    torch.testing.assert_close(scores(net, columns)[columns.column], maps[0, 2, :3, :5].mean())


def test_the_user_says_which_part_of_the_output_it_is() -> None:
    net = Returns(lambda z: {"a": z, "b": z.flip(1)})
    first, second = found(net), found(net, task=Segment(output="b"))
    assert any("'a' was explained, and not 'b'" in remark for remark in first.remarks)
    assert len(second.remarks) == 1
    assert not torch.equal(scores(net, first), scores(net, second))
    function = found(net, task=Segment(output=lambda output: output["b"]))
    torch.testing.assert_close(scores(net, function), scores(net, second))


def test_the_part_that_the_model_was_opened_with_is_explained() -> None:
    net = Returns(lambda z: {"a": z, "b": z.flip(1)})
    opened = scorecam.open_model(net, output="b", task=Segment())
    columns = opened.for_image(IMAGE).task_columns
    assert columns is not None
    expected = found(net, task=Segment(output="b"))
    torch.testing.assert_close(scores(net, columns), scores(net, expected))


def test_integers_are_refused_with_what_to_do() -> None:
    with pytest.raises(scorecam.SettingError, match="argmax") as caught:
        found(Returns(lambda z: z.argmax(1)))
    assert "before that step" in str(caught.value)


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (lambda z: z.flatten(2).mean(2), "classifier"),
        (lambda z: z.flatten(2), "detector"),
        (lambda z: {"boxes": z.flatten(2)[0, :, :4], "scores": z[0, :, 0, 0]}, "detector"),
        (lambda z: [{"boxes": z.flatten(2)[0, :, :4]}], "detector"),
        (lambda z: {"loss": z.mean()}, "loss"),
        (lambda _: "text", "str"),
    ],
)
def test_an_output_without_class_maps_is_refused(
    function: Callable[[Tensor], Any], word: str
) -> None:
    with pytest.raises(scorecam.SettingError, match=word):
        found(Returns(function))


def test_nan_is_refused_with_its_amount() -> None:
    with pytest.raises(scorecam.ModelError, match=r"960 of 960 .* not finite"):
        found(Returns(lambda z: z * torch.nan))


def test_an_output_that_changes_its_size_is_refused() -> None:
    net = Forms("logits")
    columns = found(net)
    with pytest.raises(scorecam.TargetError, match="now has 260 cells, and 240"):
        columns.readout(torch.zeros(1, 4, 13, 20))


def test_an_impossible_head_is_refused() -> None:
    with pytest.raises(scorecam.SettingError, match="head"):
        Segment(head="softmax")  # type: ignore[arg-type]
    with pytest.raises(scorecam.SettingError, match="probabilities"):
        found(Forms("logits"), task=Segment(head="probabilities"))


def test_class_names_must_fit_the_maps() -> None:
    model = scorecam.open_model(Forms("logits").eval(), labels=["a", "b", "c"])
    with pytest.raises(scorecam.SettingError, match="3 class names, but the output has 4"):
        Segment().columns(model, IMAGE, None)


@pytest.mark.parametrize("wrong", [3.5, [1], {"a": 1}, object()])
def test_a_wrong_part_of_the_output_is_refused(wrong: Any) -> None:
    with pytest.raises(scorecam.SettingError, match="is not a part of an output"):
        Segment(output=wrong)


def test_a_function_that_fails_is_refused_with_its_error() -> None:
    with pytest.raises(scorecam.SettingError, match=r"output= failed .* KeyError"):
        found(Forms("torchvision"), task=Segment(output=lambda output: output["masks"]))


@pytest.mark.parametrize("label", [True, 1.5, [1], "", object()])
def test_a_wrong_label_is_refused(label: Any) -> None:
    with pytest.raises(scorecam.TargetError):
        found(Forms("logits"), task=Segment(label=label))
