"""What users may give as the target of a detector, and what is refused in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import scorecam
from detectors import CELL, COLOURS, FORMS, Found, Spots, cell_boxes, picture
from scorecam.errors import SettingError, TargetError
from scorecam.model.model import Model
from scorecam.tasks import Detect

SIZE = 64, 96
IMAGE = picture({(1, 2): (0, 0.9), (5, 3): (0, 0.7), (6, 9): (1, 0.6)}, SIZE)


def detector(form: Any = FORMS["yolo"], **options: Any) -> Model:
    return scorecam.open_model(Spots(form).eval(), labels=COLOURS, task=Detect(**options))


def column(target: Any, model: Model | None = None) -> tuple[int, str]:
    """The index and the name of the column that a target means."""
    found = (model or detector()).for_image(IMAGE[None], target).task_columns
    assert found is not None
    return found.column, found.names[found.column]


def mask(rows: slice, columns: slice) -> Tensor:
    region = torch.zeros(SIZE, dtype=torch.bool)
    region[rows, columns] = True
    return region


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, (0, "red")),
        (2, (2, "green")),
        (np.int64(1), (1, "red 2")),
        ("1", (1, "red 2")),
        ("red", (0, "red")),
        ("Red 2", (1, "red 2")),
        ("green", (2, "green")),
        ((20, 12), (0, "red")),
        ((79.5, 55.5), (2, "green")),
        ((17, 8, 24, 17), (0, "red")),
        ((72, 48, 80, 56), (2, "green")),
        (mask(slice(49, 56), slice(72, 79)), (2, "green")),
    ],
)
def test_a_target_is_a_number_a_name_or_a_place(target: Any, expected: tuple[int, str]) -> None:
    assert column(target) == expected


def nested(found: Found) -> Tensor:
    """Around the second red cell, a large box of the same probability, and a less probable one."""
    boxes = torch.tensor([[8.0, 24, 56, 63], [0, 0, 96, 64]])
    numbers = found.probabilities[:, 42:43].repeat(1, 2, 1).roll(1, dims=2)
    numbers[:, 1] *= 0.5
    rows = torch.cat([found.boxes, boxes])
    return FORMS["yolo"](Found(rows, torch.cat([found.probabilities, numbers], 1), SIZE))


def test_a_point_means_the_best_box_there_and_then_the_smallest() -> None:
    assert cell_boxes(*SIZE)[63].tolist() == [24, 40, 32, 48]
    assert column((28, 44), detector(nested)) == (1, "red 2")


def test_a_given_box_without_a_match_is_explained_itself() -> None:
    explanation = scorecam.explain(detector(), IMAGE, (20, 8, 32, 16))
    assert (explanation.target.index, explanation.target.name) == (3, "red 3")
    assert explanation.target.score == pytest.approx(0.9 * 4 / 16, abs=1e-5)
    boxes = explanation.bank.boxes
    assert boxes is not None
    assert boxes[3].tolist() == [20, 8, 32, 16]
    assert "no box that overlaps the given one by half" in explanation.bank.provenance.remarks[1]


def test_a_given_box_is_explained_if_no_box_was_found() -> None:
    explanation = scorecam.explain(detector(threshold=0.95), IMAGE, (16, 8, 24, 16))
    assert explanation.bank.names == ("red",)
    assert explanation.target.score == pytest.approx(0.9, abs=1e-5)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("blue", "No box of the class 'blue' was found in this image. It is below the threshold."),
        ("rad", "No box is called 'rad'. Did you mean 'red'"),
        (3, "There is no box 3: 3 were found in this image, counted from 0."),
        (-1, "There is no box -1"),
        ((1, 1), "No box contains the point 1, 1."),
        ((200, 1), "outside the picture"),
        ((40, 0, 50, 8), "gives no class a probability in a box that overlaps the given one."),
        (True, "not by True"),
        (0.5, "not by 0.5"),
        (torch.zeros(SIZE, dtype=torch.bool), "an empty mask"),
        (torch.ones(3, 3, dtype=torch.bool), "the picture has the shape"),
    ],
)
def test_a_target_that_is_not_there_is_refused_in_words(target: Any, message: str) -> None:
    with pytest.raises(TargetError) as error:
        column(target)
    assert message in str(error.value)


def test_an_error_about_a_target_names_what_was_found() -> None:
    with pytest.raises(TargetError, match=r"Found: red \(0.90\), red 2 \(0.70\), green \(0.60\)"):
        column("blue")


def test_no_box_states_the_best_score_and_how_to_lower_the_threshold() -> None:
    with pytest.raises(TargetError) as error:
        scorecam.explain(detector(), IMAGE * 0.2)
    assert "the most probable one has 0.18, and the threshold is 0.25" in str(error.value)
    assert "threshold= (--threshold) to 0.09" in str(error.value)
    assert len(scorecam.explain(detector(threshold=0.09), IMAGE * 0.2).bank.names or ()) == 3
    with pytest.raises(TargetError, match=r"found no box\. The image may"):
        scorecam.explain(detector(), IMAGE * 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decode": "yol"}, "decode='yol' (--decode) is not a form of output. Did you mean 'yolo'"),
        ({"decode": 5}, "decode=5 (--decode) is not a form of output"),
        ({"threshold": 2}, "threshold=2 (--threshold) is not a number from 0 to 1"),
        ({"overlap": "x"}, "overlap='x' (--overlap) is not a number from 0 to 1"),
    ],
)
def test_an_invalid_option_is_refused_in_words(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as error:
        Detect(**options)
    assert message in str(error.value)


def refused(form: Any, message: str, **options: Any) -> None:
    with pytest.raises(scorecam.ScorecamError) as error:
        scorecam.explain(detector(form, **options), IMAGE)
    assert message in str(error.value)


def test_training_losses_are_refused_in_words() -> None:
    def losses(found: Found) -> dict[str, Tensor]:
        return {"loss_classifier": found.probabilities.mean(), "loss_box_reg": torch.tensor(1.0)}

    refused(losses, "returned its training losses: loss_classifier, loss_box_reg.")


def test_a_network_that_is_no_detector_is_refused_in_words() -> None:
    refused(lambda found: found.probabilities[:, 0], "a tensor (1, 3), is not that of a known")


def test_a_named_form_that_does_not_fit_is_refused_in_words() -> None:
    refused(FORMS["yolo"], "cannot be decoded as detr", decode="detr")


def test_logits_where_probabilities_should_be_are_refused() -> None:
    def logits(found: Found) -> Tensor:
        return FORMS["yolo"](Found(found.boxes, found.probabilities * 8 - 4, SIZE))

    refused(logits, "from -4 to 3.2, and not from 0 to 1", decode="yolo")


def test_a_detector_that_takes_one_image_at_a_time_names_the_batch_size() -> None:
    def single(found: Found) -> Any:
        return FORMS["lists"](found)[0]

    refused(single, "batch_size=1 (--batch-size 1)")
    explanation = scorecam.explain(detector(single), IMAGE, batch_size=1)
    assert explanation.bank.names == ("red", "red 2", "green")


def test_boxes_that_are_not_finite_or_empty_are_left_out_with_a_remark() -> None:
    def broken(found: Found) -> Tensor:
        boxes = found.boxes.clone()
        boxes[14, 0] = float("nan")  # the first red cell
        boxes[63, 2:] = boxes[63, :2]  # the second one
        return FORMS["yolo"](Found(boxes, found.probabilities, SIZE))

    bank = scorecam.explain(detector(broken), IMAGE).bank
    assert bank.names == ("green",)
    assert "One box is not finite, and left out." in bank.provenance.remarks
    assert bank.scores.isfinite().all()


def test_probabilities_that_are_not_finite_are_refused() -> None:
    def broken(found: Found) -> Tensor:
        numbers = found.probabilities.clone()
        numbers[:, 80, 1] = float("nan")
        return FORMS["yolo"](Found(found.boxes, numbers, SIZE))

    refused(broken, "contain NaN or infinity")


def test_a_function_decodes_what_is_not_recognised() -> None:
    def decode(output: Tensor) -> tuple[Tensor, Tensor]:
        boxes = cell_boxes(*SIZE)
        return boxes.expand(len(output), *boxes.shape), output.flatten(2).mT

    def grid(found: Found) -> Tensor:
        return found.probabilities.mT.unflatten(2, (SIZE[0] // CELL, SIZE[1] // CELL))

    bank = scorecam.explain(detector(grid, decode=decode), IMAGE).bank
    assert bank.names == ("red", "red 2", "green")
    assert bank.provenance.remarks[0] == "The output is decoded by the function decode."


def test_class_names_that_do_not_fit_are_not_used() -> None:
    for labels in (["a", "b"], ["a", "b", "c", "d", "e"]):
        model = scorecam.open_model(Spots(FORMS["yolo"]).eval(), labels=labels)
        names = scorecam.explain(model, IMAGE, task="detect").bank.names
        assert names == ("class 0", "class 0 (2)", "class 1")


def test_signals_and_volumes_are_refused() -> None:
    with pytest.raises(SettingError, match="explains photos"):
        Detect().columns(detector(), torch.zeros(1, 3, 9), None)
