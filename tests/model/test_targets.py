"""Every way to name a target, and the column it selects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import scorecam
from networks import InPlace, Network, build, images_for
from scorecam.testing import Spy

NAMES = ["ant", "bee", "house cat", "dog", "emu"]


@pytest.fixture
def network() -> Network:
    return build(InPlace)


@pytest.fixture
def images(network: Network) -> Tensor:
    return images_for(network, count=4)


@pytest.fixture
def named(network: Network) -> scorecam.Model:
    return scorecam.open_model(network, labels=NAMES, head="logits")


def index(model: scorecam.Model, image: Tensor, target: Any) -> int:
    return scorecam.explain(model, image, target, layer="norm").target.index


def refused(model: scorecam.Model, image: Tensor, target: Any) -> scorecam.TargetError:
    with pytest.raises(scorecam.TargetError) as raised:
        scorecam.explain(model, image, target, layer="norm")
    return raised.value


# ── one target ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "target",
    [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3), torch.tensor(3, dtype=torch.int32)],
    ids=repr,
)
def test_an_index_may_be_any_kind_of_integer(
    named: scorecam.Model, images: Tensor, target: Any
) -> None:
    assert index(named, images[0], target) == 3
    expected = scorecam.ScoreCAM(named, "norm")(images, 3)
    assert torch.equal(scorecam.ScoreCAM(named, "norm")(images, target), expected)


@pytest.mark.parametrize("target", ["house cat", "House Cat", "HOUSE CAT", "  house cat\n", "2"])
def test_class_names_ignore_case(named: scorecam.Model, images: Tensor, target: str) -> None:
    explanation = scorecam.explain(named, images[0], target, layer="norm")
    assert explanation.target.index == 2
    assert explanation.target.name == explanation.target.label == "house cat"


def test_without_a_target_the_prediction_is_explained(
    network: Network, named: scorecam.Model, images: Tensor
) -> None:
    scores = network(images).detach()
    for image, row in zip(images, scores, strict=True):
        target = scorecam.explain(named, image, layer="norm").target
        assert target.index == int(row.argmax())
        assert target.score == pytest.approx(float(row.max()), abs=1e-5)
        assert target.probability == pytest.approx(float(row.softmax(0).max()), abs=1e-6)


def test_without_names_a_target_is_named_by_its_index(network: Network, images: Tensor) -> None:
    target = scorecam.explain(network, images[0], 3, layer="norm").target
    assert target.name is None
    assert target.label == "class 3"


def test_digits_are_an_index_unless_a_class_has_that_name(network: Network, images: Tensor) -> None:
    model = scorecam.open_model(network, labels=["4", "3", "2", "one", "zero"])
    assert index(model, images[0], "4") == 0
    assert index(model, images[0], "1") == 1
    assert index(scorecam.open_model(network), images[0], "4") == 4


@pytest.mark.parametrize(
    ("wrong", "meant"), [("hose cat", "house cat"), ("cat", "house cat"), ("Emo", "emu")]
)
def test_a_misspelt_name_suggests_the_nearest_one(
    named: scorecam.Model, images: Tensor, wrong: str, meant: str
) -> None:
    error = refused(named, images[0], wrong)
    assert repr(wrong) in error.what
    assert f"Did you mean {meant!r}" in error.likely
    assert "0 to 4" in error.do


def test_a_name_unlike_any_class_suggests_nothing(named: scorecam.Model, images: Tensor) -> None:
    assert refused(named, images[0], "xylophone").likely == ""


def test_an_ambiguous_name_is_refused_and_lists_the_indices(
    network: Network, images: Tensor
) -> None:
    model = scorecam.open_model(network, labels=["crane", "bee", "Crane", "dog", "emu"])
    error = refused(model, images[0], "crane")
    assert "2 classes" in error.what
    assert "0, 2" in error.do
    assert index(model, images[0], 2) == 2


def test_a_name_for_a_model_without_names_is_refused(network: Network, images: Tensor) -> None:
    error = refused(scorecam.open_model(network), images[0], "cat")
    assert "no names" in error.what
    assert "labels=" in error.do


@pytest.mark.parametrize("target", [5, 1000, -1, -5, "5", np.int64(-1), torch.tensor(5)], ids=repr)
def test_an_index_out_of_range_is_refused(
    named: scorecam.Model, images: Tensor, target: Any
) -> None:
    assert "0 to 4" in refused(named, images[0], target).what


def test_an_off_by_one_index_gets_a_hint(named: scorecam.Model, images: Tensor) -> None:
    assert "start at 1" in refused(named, images[0], 5).likely
    assert refused(named, images[0], 6).likely == ""


@pytest.mark.parametrize(
    "target",
    [
        True,
        False,
        np.bool_(1),
        torch.ones((), dtype=torch.bool),
        2.0,
        1j,
        b"ant",
        {"ant"},
        "",
        " ",
    ],
    ids=repr,
)
def test_invalid_targets_are_refused(named: scorecam.Model, images: Tensor, target: Any) -> None:
    refused(named, images[0], target)


@pytest.mark.parametrize("target", [[1], (1, 2), torch.tensor([1, 2]), np.array([1, 2])], ids=repr)
def test_explain_takes_only_one_target(named: scorecam.Model, images: Tensor, target: Any) -> None:
    refused(named, images[0], target)


def test_names_must_match_the_number_of_columns(network: Network, images: Tensor) -> None:
    model = scorecam.open_model(network, labels=NAMES[:3])
    with pytest.raises(scorecam.SettingError, match="3 class names, but the model has 5"):
        scorecam.ScoreCAM(model, "norm")(images)


# ── one per image ────────────────────────────────────────────────────────────────────────────


def alone(model: scorecam.Model, images: Tensor, targets: list[Any]) -> Tensor:
    cam = scorecam.ScoreCAM(model, "norm")
    pairs = zip(images, targets, strict=True)
    return torch.cat([cam(image[None], target) for image, target in pairs])


def close(actual: Tensor, truth: Tensor) -> None:
    for one, other in zip(actual, truth, strict=True):
        torch.testing.assert_close(scorecam.scaled(one), scorecam.scaled(other), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "targets",
    [
        [4, 0, 0, 2],
        (4, 0, 0, 2),
        ["emu", "ant", 0, "House Cat"],
        np.array([4, 0, 0, 2]),
        torch.tensor([4, 0, 0, 2]),
        [np.int64(4), torch.tensor(0), "0", 2],
    ],
    ids=repr,
)
def test_a_list_has_one_target_per_image(
    named: scorecam.Model, images: Tensor, targets: Any
) -> None:
    close(scorecam.ScoreCAM(named, "norm")(images, targets), alone(named, images, [4, 0, 0, 2]))


def test_a_list_may_mix_kinds_of_targets(
    network: Network, named: scorecam.Model, images: Tensor
) -> None:
    def odds(output: Tensor) -> Tensor:
        return output[:, 3] - output[:, 1]

    targets = [None, odds, "emu", odds]
    result = scorecam.ScoreCAM(named, "norm")(images, targets)
    close(result, alone(named, images, targets))
    predicted = int(network(images[:1]).argmax())
    close(result[:1], alone(named, images[:1], [predicted]))


@pytest.mark.parametrize("targets", [[], [1], [1, 2, 3], [1] * 5, torch.tensor([1, 2])], ids=repr)
def test_the_target_list_must_match_the_batch(
    named: scorecam.Model, images: Tensor, targets: Any
) -> None:
    with pytest.raises(scorecam.TargetError, match=f"{len(targets)} targets .* 4 images"):
        scorecam.ScoreCAM(named, "norm")(images, targets)


def test_a_list_of_lists_is_refused(named: scorecam.Model, images: Tensor) -> None:
    with pytest.raises(scorecam.TargetError):
        scorecam.ScoreCAM(named, "norm")(images, [[1], [2], [3], [0]])


def test_one_wrong_target_in_a_list_is_named(named: scorecam.Model, images: Tensor) -> None:
    with pytest.raises(scorecam.TargetError, match="'emuu'"):
        scorecam.ScoreCAM(named, "norm")(images, [0, 1, "emuu", 2])


# ── functions ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "readout",
    [
        lambda output: output[:, 2],
        lambda output: output[:, 2:3],
        lambda output: output[:, 2].half(),
        lambda output: output[:, 2].double(),
    ],
    ids=["b", "b 1", "float16", "float64"],
)
def test_a_function_returns_one_number_per_image(
    named: scorecam.Model, images: Tensor, readout: Callable[[Tensor], Tensor]
) -> None:
    # The raw column as a value: `increase` is the same as for the class, `official` is not.
    result = scorecam.ScoreCAM(named, "norm", "increase")(images, readout)
    truth = scorecam.ScoreCAM(named, "norm", "increase")(images, 2)
    for one, other in zip(result, truth, strict=True):
        torch.testing.assert_close(scorecam.scaled(one), scorecam.scaled(other), rtol=0, atol=0.01)
    explanation = scorecam.explain(named, images[0], readout, layer="norm")
    assert explanation.bank.head == "value"
    assert explanation.bank.scores.dtype == torch.float32
    assert explanation.bank.scores.shape == (len(explanation.bank.asked), 1)
    assert explanation.target.probability is None


def test_a_function_is_called_once_per_pass(network: Network, images: Tensor) -> None:
    calls: list[int] = []

    def readout(output: Tensor) -> Tensor:
        calls.append(len(output))
        return output[:, 0]

    spy = Spy(network)
    scorecam.ScoreCAM(spy, "network.norm", batch_size=3).bank(images[0], readout)
    assert calls == [len(batch) for batch in spy.seen]


@pytest.mark.parametrize(
    ("readout", "phrase"),
    [
        (lambda output: output.sum(), "shape ()"),
        (lambda output: output[:, :2], "one"),
        (lambda output: output[:1, 0].repeat(len(output) + 1), "shape"),
        (lambda output: output[:, :, None].expand(-1, -1, 2), "one"),
        (lambda output: float(output[0, 0]), "float"),
        (lambda output: [output[:, 0]], "list"),
        (lambda output: None, "NoneType"),  # noqa: ARG005
        (lambda output: output["logits"], "IndexError"),
        (lambda: None, "TypeError"),
    ],
    ids=["a scalar", "b 2", "b+1", "b n 2", "a float", "a list", "None", "raises", "no argument"],
)
def test_a_function_with_any_other_result_is_refused(
    named: scorecam.Model, images: Tensor, readout: Callable[..., Any], phrase: str
) -> None:
    for batch in (images, images[:1]):
        with pytest.raises(scorecam.TargetError) as raised:
            scorecam.ScoreCAM(named, "norm")(batch, readout)
        assert phrase in str(raised.value)
        assert raised.value.do


def test_two_functions_are_not_mixed_up(named: scorecam.Model, images: Tensor) -> None:
    readouts = [lambda output, column=column: output[:, column] for column in (0, 4, 2, 1)]
    cam = scorecam.ScoreCAM(named, "norm", "increase")
    close(cam(images, readouts), cam(images, [0, 4, 2, 1]))


def test_an_unhashable_callable_is_accepted(named: scorecam.Model, images: Tensor) -> None:
    class Reads:
        def __init__(self, column: int) -> None:
            self.column = column

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Reads) and other.column == self.column

        __hash__ = None

        def __call__(self, output: Tensor) -> Tensor:
            return output[:, self.column]

    cam = scorecam.ScoreCAM(named, "norm", "increase")
    close(cam(images[:2], [Reads(0), Reads(4)]), cam(images[:2], [0, 4]))
