"""The score of a box: its best match, for all boxes of a batch at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scorecam.tasks.detect import matching
from scorecam.tasks.detect.detections import Detections, intersection_over_union, usable
from scorecam.tasks.detect.matching import best_matches
from scorecam.tasks.detect.names import box_names
from scorecam.tasks.detect.suppression import MOST_BOXES, find_boxes


def random_boxes(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(*shape, 2, generator=generator) * 80
    return torch.cat([corner, corner + 4 + 40 * torch.rand(*shape, 2, generator=generator)], -1)


def overlap(one: list[float], other: list[float]) -> float:
    """The intersection over the union of two boxes, in plain numbers."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(wide, 0) * max(high, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def test_the_overlap_of_two_boxes_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 2], [2, 0, 6, 2], [0, 0, 2, 1], [4, 0, 6, 2]])
    expected = torch.tensor([[1, 1 / 3, 1 / 4, 0]])
    assert torch.allclose(intersection_over_union(boxes, boxes[:1]), expected)


def test_the_score_is_the_best_product_of_overlap_and_probability() -> None:
    found = Detections(random_boxes(3, 50), torch.rand(3, 50, 4))
    boxes, classes = random_boxes(7, seed=1), torch.tensor([0, 1, 2, 3, 0, 1, 1])
    scores = best_matches(found, boxes, classes)
    for image in range(3):
        for column, (box, kind) in enumerate(zip(boxes.tolist(), classes.tolist(), strict=True)):
            products = [
                overlap(box, other) * float(numbers[kind])
                for other, numbers in zip(
                    found.boxes[image].tolist(), found.probabilities[image], strict=True
                )
            ]
            assert float(scores[image, column]) == pytest.approx(max(products), abs=1e-5)


def test_labels_give_the_same_scores_as_their_probabilities() -> None:
    boxes, labels, numbers = random_boxes(2, 30), torch.randint(4, (2, 30)), torch.rand(2, 30, 1)
    probabilities = torch.zeros(2, 30, 4).scatter(2, labels[..., None], numbers)
    targets, classes = random_boxes(5, seed=1), torch.tensor([0, 1, 2, 3, 3])
    expected = best_matches(Detections(boxes, probabilities), targets, classes)
    found = best_matches(Detections(boxes, numbers, labels=labels), targets, classes)
    assert torch.equal(found, expected)


def test_scores_do_not_depend_on_the_batch_or_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Detections(random_boxes(4, 200), torch.rand(4, 200, 3))
    boxes, classes = random_boxes(11, seed=1), torch.randint(3, (11,))
    together = best_matches(found, boxes, classes)
    for image in range(4):
        rows = slice(image, image + 1)
        alone = Detections(found.boxes[rows], found.probabilities[rows])
        assert torch.equal(best_matches(alone, boxes, classes)[0], together[image])
    monkeypatch.setattr(matching, "LARGEST", 1)
    assert torch.equal(best_matches(found, boxes, classes), together)


def test_memory_stays_small_for_many_boxes() -> None:
    """Pairs of 100 boxes, 8,400 proposals and 32 images would take 107 MB in every operation."""
    found = Detections(random_boxes(32, 8400), torch.rand(32, 8400, 2))
    boxes, classes = random_boxes(100, seed=1), torch.randint(2, (100,))
    with torch.profiler.profile(profile_memory=True, record_shapes=True) as profile:
        scores = best_matches(found, boxes, classes)
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert scores.shape == (32, 100)
    assert 0 < largest <= 4 * 2**20


def test_without_any_proposal_every_score_is_0() -> None:
    found = Detections(torch.zeros(2, 0, 4), torch.zeros(2, 0, 3))
    assert best_matches(found, random_boxes(3), torch.tensor([0, 1, 2])).tolist() == [[0] * 3] * 2
    assert len(find_boxes(found, 0.25, 0.5)) == 0


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), float("-inf")])
def test_broken_and_empty_boxes_match_nothing(broken: float) -> None:
    boxes = torch.tensor([[[0.0, 0, 4, 4], [2, 2, 2, 2], [4, 4, 0, 0]]])
    boxes[0, 0, 2] = broken
    assert not usable(boxes).any()
    found = Detections(boxes, torch.ones(1, 3, 1))
    scores = best_matches(found, torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([0]))
    assert scores.tolist() == [[0]]
    assert len(find_boxes(found, 0.25, 0.5)) == 0


def test_readouts_run_on_the_meta_device() -> None:
    found = Detections(torch.empty(8, 50, 4, device="meta"), torch.empty(8, 50, 3, device="meta"))
    scores = best_matches(found, random_boxes(5), torch.tensor([0, 1, 2, 0, 0]))
    assert scores.shape == (8, 5)
    assert scores.device.type == "meta"


# ── suppression ──────────────────────────────────────────────────────────────────────────────────


def test_of_overlapping_boxes_of_a_class_the_best_remains() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 4], [30, 0, 40, 10]]])
    numbers = torch.tensor([[[0.6, 0.0], [0.9, 0.3], [0.5, 0.0], [0.7, 0.0]]])
    found = find_boxes(Detections(boxes, numbers), 0.25, 0.5)
    assert found.boxes[:, 3].tolist() == [8, 10, 4, 8]  # the third overlaps by half
    assert found.classes.tolist() == [0, 0, 0, 1]
    assert torch.allclose(found.scores, torch.tensor([0.9, 0.7, 0.5, 0.3]))
    assert len(find_boxes(Detections(boxes, numbers), 0.25, None)) == 5
    assert len(find_boxes(Detections(boxes, numbers), 0.25, 0.49)) == 3
    assert len(find_boxes(Detections(boxes, numbers), 0.25, 0.9)) == 5


def test_suppression_equals_a_plain_loop() -> None:
    boxes, numbers = random_boxes(1, 300), torch.rand(1, 300, 3)
    found = find_boxes(Detections(boxes, numbers), 0.5, 0.4)
    candidates = sorted(
        ((float(numbers[0, row, kind]), row, kind) for row in range(300) for kind in range(3)),
        reverse=True,
    )
    kept: list[tuple[float, int, int]] = []
    for score, row, kind in candidates:
        others = (other for _, other, same in kept if same == kind)
        own = boxes[0, row].tolist()
        if score > 0.5 and all(overlap(own, boxes[0, other].tolist()) <= 0.4 for other in others):
            kept.append((score, row, kind))
    assert found.classes.tolist() == [kind for _, _, kind in kept]
    assert torch.equal(found.boxes, boxes[0, [row for _, row, _ in kept]])


def test_at_most_300_boxes_are_kept() -> None:
    columns = torch.arange(400.0)[None, :, None]
    boxes = torch.cat([columns, columns * 0, columns + 1, columns * 0 + 1], -1)
    numbers = torch.linspace(0.3, 0.9, 400)[None, :, None]
    found = find_boxes(Detections(boxes, numbers), 0.25, 0.5)
    assert len(found) == MOST_BOXES
    assert float(found.scores[0]) == pytest.approx(0.9)
    assert float(found.best) == pytest.approx(0.9)


def test_names_of_boxes_are_all_different() -> None:
    assert box_names(["cat", "dog", "cat", "cat"]) == ("cat", "dog", "cat 2", "cat 3")
    assert box_names(["cat", "cat", "cat 2"]) == ("cat", "cat 3", "cat 2")
    assert box_names(["class 1", "class 1"]) == ("class 1", "class 1 (2)")
    assert box_names([]) == ()
