"""Every form of output is decoded to boxes computed by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from detectors import FORMS, Spots, picture
from scorecam.errors import TargetError
from scorecam.tasks.detect.decoder import Decoder, RawOutput
from scorecam.tasks.detect.decoders.function import OwnFunction
from scorecam.tasks.detect.detections import Detections
from scorecam.tasks.detect.recognition import DECODERS, decoder_for

SIZE = 64, 96


def decoded(output: Any, name: str | None = None, names: int | None = None) -> Detections:
    return decoder_for(RawOutput(output, SIZE, names), name).decode(output)


def first(found: Detections) -> tuple[list[float], list[float]]:
    """The corners and probabilities of the first box."""
    boxes, numbers = found.boxes[0, 0], found.probabilities[0, 0]
    return [round(each, 4) for each in boxes.tolist()], [
        round(each, 4) for each in numbers.tolist()
    ]


def table(*first_row: float, boxes: int = 126) -> Tensor:
    """`1 m c` with this row and rows of boxes that hold nothing."""
    rest = [40.0, 30, 8, 4, *[0.0] * (len(first_row) - 4)]
    return torch.tensor([[first_row, *[rest] * (boxes - 1)]])


def test_yolo_has_centres_and_probabilities_in_columns() -> None:
    found = decoded(table(20, 10, 8, 4, 0.1, 0.7).mT)
    assert first(found) == ([16, 8, 24, 12], [0.1, 0.7])


def test_yolo_levels_follow_from_the_size_of_the_input() -> None:
    levels = decoded(table(20, 10, 8, 4, 0.1, 0.7).mT).levels
    assert levels is not None
    assert levels.tolist() == [0] * 96 + [1] * 24 + [2] * 6
    assert decoded(table(20, 10, 8, 4, 0.1, 0.7, boxes=50).mT).levels is None


def test_yolo_coordinates_may_be_parts_of_the_picture() -> None:
    output = torch.cat([table(20, 10, 8, 4)[:, :] / torch.tensor([96, 64, 96, 64]), _noise()], -1)
    assert first(decoded(output.mT))[0] == [16, 8, 24, 12]


def _noise() -> Tensor:
    return torch.linspace(0, 0.9, 126 * 3).reshape(1, 126, 3)


def test_yolo_rows_are_told_from_objectness_by_the_class_names() -> None:
    output = table(20, 10, 8, 4, 0.5, 0.25, 0.8)
    assert first(decoded(output, names=3))[1] == [0.5, 0.25, 0.8]
    assert first(decoded(output, names=2))[1] == [0.125, 0.4]
    assert first(decoded(output))[1] == [0.125, 0.4]
    assert first(decoded(output, "yolo"))[1] == [0.5, 0.25, 0.8]


def test_rt_detr_of_ultralytics_has_queries_as_rows() -> None:
    scores = torch.rand(1, 300, 80) * 0.9
    boxes = torch.tensor([0.5, 0.25, 0.25, 0.5]).expand(1, 300, 4)
    found = decoded(torch.cat([boxes, scores], -1))
    assert first(found)[0] == [36, 0, 60, 32]
    assert torch.equal(found.probabilities, scores)


def test_yolo_v5_multiplies_by_the_objectness() -> None:
    assert first(decoded(table(20, 10, 8, 4, 0.5, 0.4, 0.8))) == ([16, 8, 24, 12], [0.2, 0.4])


def test_yolo_v5_ignores_the_feature_maps_of_old_exports() -> None:
    maps = torch.zeros(1, 3, 8, 12, 7)
    output = {"output": table(20, 10, 8, 4, 0.5, 0.4, 0.8), "340": maps, "400": maps}
    assert first(decoded(output)) == ([16, 8, 24, 12], [0.2, 0.4])


@pytest.mark.parametrize("names", [3, None])
def test_numbers_after_the_classes_are_ignored(names: int | None) -> None:
    output = table(20, 10, 8, 4, 0.1, 0.7, 0.2, 60.0, -3.0)
    assert first(decoded(output.mT, names=names))[1] == [0.1, 0.7, 0.2]


def test_end_to_end_rows_hold_corners_score_and_class() -> None:
    output = torch.zeros(2, 300, 6)
    output[0, 0] = torch.tensor([1, 2, 31, 42, 0.75, 5])
    found = decoded(output)
    assert first(found) == ([1, 2, 31, 42], [0.75])
    assert found.probability_of(torch.tensor([5, 4]))[0, :, 0].tolist() == [0.75, 0]


@pytest.mark.parametrize("extra", [32, 51])
def test_end_to_end_rows_may_have_masks_or_key_points(extra: int) -> None:
    output = torch.zeros(1, 300, 6 + extra)
    output[0, 0] = torch.tensor([1, 2, 31, 42, 0.75, 5, *[7.5] * extra])
    assert first(decoded(output)) == ([1, 2, 31, 42], [0.75])


def queries(logits: list[float]) -> dict[str, Tensor]:
    boxes = torch.tensor([[[0.5, 0.25, 0.25, 0.5]]])
    return {"logits": torch.tensor([[logits]]), "pred_boxes": boxes}


def test_detr_leaves_out_the_last_class() -> None:
    output = queries([0.0, torch.tensor(2.0).log().item(), torch.tensor(5.0).log().item()])
    assert first(decoded(output)) == ([36, 0, 60, 32], [0.125, 0.25])
    assert first(decoded(output, names=2))[1] == [0.125, 0.25]


def test_rt_detr_has_a_sigmoid_per_class() -> None:
    output = queries([torch.tensor(3.0).log().item(), 0.0])
    assert first(decoded(output)) == ([36, 0, 60, 32], [0.75, 0.5])
    assert first(decoded(output, names=2))[1] == [0.75, 0.5]
    assert first(decoded(output, "detr"))[1] == [0.75]


def test_torchvision_lists_of_any_length_become_one_batch() -> None:
    image = {"boxes": torch.tensor([[1.0, 2, 3, 4]]), "labels": torch.tensor([7])}
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    output = [
        {**image, "scores": torch.tensor([0.5])},
        {**empty, "scores": torch.zeros(0)},
    ]
    found = decoded(output)
    assert found.boxes.tolist() == [[[1, 2, 3, 4]], [[0, 0, 0, 0]]]
    assert found.probability_of(torch.tensor([7])).tolist() == [[[0.5]], [[0]]]
    assert decoded(output[1:]).boxes.shape == (1, 0, 4)


def levels(scores: Tensor) -> dict[str, Tensor]:
    """Three levels of 96, 24 and 6 cells, with sides at 0, 1, 2 and 3 strides."""
    sides = torch.full((1, 126, 4, 8), -100.0)
    for side, distance in enumerate((0, 1, 2, 3)):
        sides[..., side, distance] = 0
    output: dict[str, Tensor] = {}
    for name, tensor in (("cls", scores), ("dis", sides.flatten(2))):
        parts = tensor.split([96, 24, 6], dim=1)
        output |= {f"{name} {level}": part for level, part in enumerate(parts)}
    return output


def test_picodet_distances_are_means_in_strides() -> None:
    scores = torch.rand(1, 126, 5)
    found = decoded(levels(scores))
    assert found.boxes[0, 13].tolist() == [12, 4, 28, 36]  # row 1, column 1: the centre is 12, 12
    assert found.boxes[0, 96 + 6].tolist() == [8, 8, 40, 72]  # stride 16: the centre is 8, 24
    assert torch.equal(found.probabilities, scores)
    assert found.levels is not None
    assert found.levels.tolist() == [0] * 96 + [1] * 24 + [2] * 6


def test_picodet_scores_may_be_logits() -> None:
    logits = torch.linspace(-4, 4, 126 * 5).reshape(1, 126, 5)
    assert torch.equal(decoded(levels(logits)).probabilities, logits.sigmoid())


def test_boxes_in_corners_or_centres_are_told_apart() -> None:
    scores = torch.rand(1, 20, 3) * 0.5
    corners = torch.tensor([10.0, 20, 40, 50]).expand(1, 20, 4)
    centres = torch.tensor([25.0, 35, 30, 30]).expand(1, 20, 4)
    assert first(decoded((corners, scores)))[0] == [10, 20, 40, 50]
    assert first(decoded((scores, corners)))[0] == [10, 20, 40, 50]
    assert first(decoded({"b": centres + torch.tensor([30, 40, 0, 0]), "s": scores}))[0] == [
        *(40, 60, 70, 90),
    ]


def test_ssd_logits_with_a_background_get_a_softmax() -> None:
    logits = torch.zeros(1, 20, 3)
    logits[..., 0] = torch.tensor(6.0).log()
    boxes = torch.tensor([0.25, 0.25, 0.5, 0.5]).expand(1, 20, 4)
    found = decoded({"boxes": boxes, "scores": logits}, names=2)
    assert first(found) == ([24, 16, 48, 32], [0.125, 0.125])


def test_boxes_after_suppression_may_lack_the_batch_axis() -> None:
    output = {
        "boxes": torch.tensor([[1.0, 2, 30, 40], [5, 5, 9, 9]]),
        "labels": torch.tensor([3, 1]),
        "scores": torch.tensor([0.5, 0.25]),
    }
    found = decoded(output)
    assert first(found) == ([1, 2, 30, 40], [0.5])
    assert found.probability_of(torch.tensor([1, 3])).tolist() == [[[0, 0.25], [0.5, 0]]]
    decoder = decoder_for(RawOutput(output, SIZE), None)
    empty = {key: value[:0] for key, value in output.items()}
    assert decoder.decode(empty).boxes.shape == (1, 0, 4)


def test_boxes_beyond_their_number_do_not_count() -> None:
    output = {
        "num_dets": torch.tensor([[1]]),
        "det_boxes": torch.tensor([[[1.0, 2, 30, 40], [5, 5, 9, 9]]]),
        "det_scores": torch.tensor([[0.5, 0.25]]),
        "det_classes": torch.tensor([[3, 1]]),
    }
    assert decoded(output).probabilities.flatten().tolist() == [0.5, 0]


def decoders() -> dict[str, tuple[Decoder, Any]]:
    image = picture({(1, 2): (0, 0.9), (6, 9): (1, 0.6)}, SIZE)[None]
    with torch.no_grad():
        outputs = {name: Spots(form)(image) for name, form in FORMS.items()}
    return {
        name: (decoder_for(RawOutput(output, SIZE, 3), None), output)
        for name, output in outputs.items()
    }


@pytest.mark.parametrize("form", [form for form in FORMS if form != "lists"])
def test_decoders_run_on_the_meta_device(form: str) -> None:
    decoder, output = decoders()[form]
    found = decoder.decode(output)
    shapes = decoder.decode(tree_map(lambda each: each.to("meta"), output))
    assert shapes.boxes.shape == found.boxes.shape
    assert shapes.probabilities.shape == found.probabilities.shape


def test_decoders_are_equal_if_they_read_the_same_tensors() -> None:
    once, again = decoders(), decoders()
    for name, (decoder, _) in once.items():
        assert decoder == again[name][0]
        assert hash(decoder) == hash(again[name][0])


def test_a_function_is_checked_at_each_call() -> None:
    good = torch.zeros(2, 3, 4), torch.zeros(2, 3, 5)
    assert OwnFunction(lambda output: output).decode(good).probabilities.shape == (2, 3, 5)
    for bad in (good[0], (good[0], good[1][:1]), (good[0][..., :3], good[1]), (1, 2)):
        with pytest.raises(TargetError, match="returned"):
            OwnFunction(lambda output: output).decode(bad)


def test_an_unknown_output_lists_the_shapes_and_the_names() -> None:
    with pytest.raises(TargetError, match=r"a dict of a \(1, 5\), b \(2, 2, 2, 2\)") as error:
        decoded({"a": torch.zeros(1, 5), "b": torch.zeros(2, 2, 2, 2)})
    assert all(name in str(error.value) for name in DECODERS)


def test_an_output_that_fits_several_forms_is_refused() -> None:
    output = {"boxes": torch.zeros(1, 6, 4), "scores": torch.zeros(1, 6, 1)}
    ambiguous = {**output, "labels": torch.zeros(1, 6), "conf": torch.zeros(1, 6)}
    with pytest.raises(TargetError, match="boxes and nms"):
        decoded(ambiguous)


def test_an_output_of_another_form_later_is_refused() -> None:
    for name, (decoder, _) in decoders().items():
        with pytest.raises(TargetError, match="for masked images"):
            decoder.decode([{}] if name == "lists" else torch.zeros(1, 2))
