"""What the task segment explains: classes, points, boxes and masks, with known answers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import scorecam
from scorecam.tasks import Segment
from segmenters import Cue, Forms

IMAGE = torch.randn(3, 12, 20, generator=torch.Generator().manual_seed(1))
NAMES = ["background", "road", "car", "tree"]


def opened(form: str = "logits", labels: list[str] | None = NAMES, **options: Any) -> Any:
    return scorecam.open_model(Forms(form, **options).eval(), labels=labels)


def chances(model: Any) -> Tensor:
    with torch.no_grad():
        return model.module.logits(IMAGE[None])[0].softmax(0)


def bank(target: Any = None, task: Segment | None = None, **options: Any) -> Any:
    return scorecam.explain(opened(**options), IMAGE, target, task=task or Segment()).bank


# ── the known answer ─────────────────────────────────────────────────────────────────────────────

SIZES = [(40,), (16, 24), (8, 12, 10)]


def planted(size: tuple[int, ...], cue: tuple[slice, ...]) -> tuple[Cue, Tensor, Tensor]:
    """A segmenter of one object, an image with a cue and a distractor, and the cue's region."""
    region = torch.zeros(size, dtype=torch.bool)
    region[(slice(1, 5),) * len(size)] = True
    image = torch.zeros(3, *size)
    image[0][region] = 1.0  # the object itself
    image[1][cue] = 1.0
    image[2][(slice(0, 2),) * (len(size) - 1) + (slice(-3, None),)] = 1.0
    where = torch.zeros(size, dtype=torch.bool)
    where[cue] = True
    return Cue(region).eval(), image, where


@pytest.mark.parametrize("size", SIZES, ids=["signal", "photo", "volume"])
@pytest.mark.parametrize("start", [5, 7])
def test_the_map_is_in_the_cue_and_moves_with_it(size: tuple[int, ...], start: int) -> None:
    cue = (slice(start, start + 3),) * (len(size) - 1) + (slice(start, None),)
    net, image, where = planted(size, cue)
    explanation = scorecam.explain(net, image, "class 1", task="segment", layer="maps")
    heatmap = explanation.heatmap
    assert heatmap.shape == size
    assert float(heatmap[where].sum() / heatmap.sum()) > 0.99
    assert float(heatmap[net.region.bool()].sum()) == 0, "the object itself does not matter"


def test_the_score_of_the_known_answer_is_that_on_paper() -> None:
    net, image, where = planted((16, 24), (slice(6, 10), slice(10, 20)))
    columns = scorecam.explain(net, image, "class 1", task="segment", layer="maps").bank
    expected = 1 / (1 + math.exp(-(0.2 * int(where.sum()) - 1)))
    assert columns.target("class 1").score == pytest.approx(expected, abs=1e-6)


# ── columns ──────────────────────────────────────────────────────────────────────────────────────


def test_columns_are_the_predicted_classes_the_largest_first() -> None:
    model, columns = opened(), bank()
    labels = chances(model).argmax(0)
    counts = torch.bincount(labels.flatten(), minlength=4)
    order = [int(each) for each in counts.argsort(descending=True) if counts[each]]
    assert columns.names == tuple(NAMES[each] for each in order)
    for mask, each in zip(columns.masks, order, strict=True):
        assert torch.equal(mask, labels == each)


def test_the_default_is_no_background_if_there_is_an_object() -> None:
    model = opened(labels=None)
    first, second = scorecam.explain(model, IMAGE, task="segment").bank.names[:2]
    labels = [f"class {each}" for each in range(4)]
    labels[int(first.split()[1])] = "Background"
    named = scorecam.explain(opened(labels=labels), IMAGE, task="segment")
    assert named.bank.names[0] == "Background"
    assert named.target.name == second


def test_only_background_is_explained_if_there_is_nothing_else() -> None:
    net = Cue(torch.zeros(12, 20, dtype=torch.bool)).eval()
    explanation = scorecam.explain(net, IMAGE, task="segment", layer="maps")
    assert explanation.bank.names == ("class 0",)


def test_a_class_that_is_not_predicted_is_refused_with_those_that_are() -> None:
    net = Cue(torch.zeros(12, 20, dtype=torch.bool)).eval()
    model = scorecam.open_model(net, labels=["sky", "road"])
    with pytest.raises(scorecam.TargetError, match=r"'road' is predicted in no pixel .*are sky"):
        scorecam.explain(model, IMAGE, "road", task="segment", layer="maps")


def test_an_index_is_that_of_the_class_and_not_of_the_column() -> None:
    for name in bank().names:
        assert bank(NAMES.index(name)).names[bank(NAMES.index(name)).provenance.column] == name


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(scorecam.TargetError, match="Did you mean 'road'"):
        bank("raod")
    with pytest.raises(scorecam.TargetError, match="no class 9"):
        bank(task=Segment(label=9))


def test_names_that_occur_twice_get_their_number() -> None:
    columns = scorecam.explain(opened(labels=["a", "b", "b", "c"]), IMAGE, task="segment").bank
    assert set(columns.names) <= {"a", "b (class 1)", "b (class 2)", "c"}
    assert len(set(columns.names)) == len(columns.names)


# ── places ───────────────────────────────────────────────────────────────────────────────────────


def chosen(columns: Any) -> tuple[str, float, Tensor]:
    number = columns.provenance.column
    return columns.names[number], float(columns.image_scores[number]), columns.masks[number]


def test_a_point_is_the_class_predicted_at_its_pixel() -> None:
    maps = chances(opened())
    name, value, mask = chosen(bank((13.7, 4.0)))
    label = int(maps[:, 4, 13].argmax())
    assert name == f"{NAMES[label]} at (13.7, 4)"
    assert value == pytest.approx(float(maps[label, 4, 13]), abs=1e-6)
    assert mask.nonzero().tolist() == [[4, 13]]


def test_a_point_gives_the_map_of_a_function_that_reads_the_pixel() -> None:
    model = opened()
    label = int(chances(model)[:, 4, 13].argmax())
    by_point = scorecam.explain(model, IMAGE, (13, 4), task="segment", layer="stem")
    by_function = scorecam.explain(
        model, IMAGE, lambda z: z.softmax(1)[:, label, 4, 13], layer="stem"
    )
    assert by_function.variant == by_point.variant
    torch.testing.assert_close(by_point.heatmap, by_function.heatmap)


def test_a_box_is_the_most_frequent_class_in_it() -> None:
    maps = chances(opened())
    name, value, mask = chosen(bank((2, 1, 9.6, 7.4)))
    inside = maps[:, 1:7, 2:10]
    counts = torch.bincount(inside.argmax(0).flatten(), minlength=4)
    counts[0] = 0  # the background only if there is nothing else
    label = int(counts.argmax())
    assert name == f"{NAMES[label]} in (2, 1, 9.6, 7.4)"
    assert value == pytest.approx(float(inside[label].mean()), abs=1e-6)
    assert int(mask.sum()) == 6 * 8


def test_a_mask_and_a_label_are_a_class_in_a_region() -> None:
    mask = torch.zeros(12, 20, dtype=torch.bool)
    mask[3:5, 6:11] = True
    for given in (mask, mask.numpy()):
        name, value, region = chosen(bank(given, Segment(label="tree")))
        assert name == "tree in the mask"
        assert value == pytest.approx(float(chances(opened())[3][mask].mean()), abs=1e-6)
        assert torch.equal(region, mask)


def test_a_label_is_scored_in_the_region_of_another_class() -> None:
    maps = chances(opened())
    first, second = bank().names[:2]
    name, value, mask = chosen(bank(first, Segment(label=second)))
    assert name == f"{second} in the region of {first}"
    region = maps.argmax(0) == NAMES.index(first)
    assert torch.equal(mask, region)
    assert value == pytest.approx(float(maps[NAMES.index(second)][region].mean()), abs=1e-6)


def test_a_label_without_a_target_is_its_own_region() -> None:
    second = bank().names[1]
    assert chosen(bank(None, Segment(label=second)))[0] == second


def test_a_coarse_output_gives_the_cell_of_a_point_and_says_so() -> None:
    model = opened(stride=4, labels=None)
    maps = chances(model)
    explanation = scorecam.explain(model, IMAGE, (18, 5), task="segment", layer="stem")
    label = int(explanation.target.label.split()[1])
    assert explanation.target.score == pytest.approx(float(maps[label, 1, 4]), abs=1e-6)
    assert "one cell for 4 × 4 pixels" in " ".join(explanation.provenance.remarks)


def test_the_region_is_averaged_onto_a_coarse_grid() -> None:
    model = opened(stride=4, labels=None)
    mask = torch.zeros(12, 20, dtype=torch.bool)
    mask[0:4, 0:8] = True  # two cells
    mask[4:8, 0:2] = True  # half of a third
    maps = chances(model)[1]
    expected = (maps[0, 0] + maps[0, 1] + maps[1, 0] / 2) / 2.5
    task = Segment(label=1)
    explanation = scorecam.explain(model, IMAGE, mask, task=task, layer="stem")
    assert explanation.target.score == pytest.approx(float(expected), abs=1e-6)


def test_every_region_has_the_same_passes_and_layer() -> None:
    model = scorecam.open_model(Forms("logits").eval(), task=Segment())
    one, other = (model.for_image(IMAGE[None], target) for target in (None, (3, 3)))
    assert one.readout.trace_key == other.readout.trace_key
    one.layers(IMAGE[None])
    assert len(model.cache.traces) == 1
    other.layers(IMAGE[None])
    assert len(model.cache.traces) == 1


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ((25, 3), "outside the picture"),
        ((-1, 3), "outside the picture"),
        ((1, 2, 3), "not a point or a box"),
        ((5, 5, 5, 5), "no area"),
        (torch.ones(12, 21, dtype=torch.bool), r"\(12, 21\).*\(12, 20\)"),
        (np.zeros((12, 20), bool), "empty mask"),
        (torch.ones(12, 20), "float32"),
    ],
)
def test_a_wrong_place_is_refused(target: Any, words: str) -> None:
    with pytest.raises(scorecam.TargetError, match=words):
        bank(target)


def test_nothing_above_a_half_needs_a_place() -> None:
    net = Forms("logits").eval()
    with torch.no_grad():
        net.head.bias -= 100
    model, task = scorecam.open_model(net), Segment(head="sigmoid")
    with pytest.raises(scorecam.TargetError, match="above a half"):
        scorecam.explain(model, IMAGE, task=task)
    explanation = scorecam.explain(model, IMAGE, (3, 4), task=task)
    with torch.no_grad():
        likeliest = int(net.logits(IMAGE[None])[0, :, 4, 3].argmax())
    assert explanation.target.name == f"class {likeliest} at (3, 4)"


def test_memory_is_bounded_for_many_classes() -> None:
    from scorecam.tasks.segment import class_maps

    seen: list[int] = []
    maps = class_maps.PixelMaps(lambda output: output, 1)
    logits = torch.randn(2, 50, 300, 200)
    weights = torch.rand(3, 60_000) / 60_000
    classes = torch.tensor([4, 4, 30])

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor) and result.data_ptr() != logits.data_ptr():
                own = result.untyped_storage().data_ptr() != logits.untyped_storage().data_ptr()
                seen.append(result.numel() if own else 0)
            return result

    with Watch():
        found = maps.means(logits, classes, weights)
    expected = torch.einsum("bkp,kp->bk", logits.softmax(1)[:, classes].flatten(2), weights)
    torch.testing.assert_close(found, expected)
    assert max(seen) <= class_maps.MOST


def test_shapes_alone_are_followed() -> None:
    model = scorecam.open_model(Forms("logits").eval())
    columns = Segment().columns(model, IMAGE[None], None)
    assert columns.readout(torch.empty(5, 4, 12, 20, device="meta")).shape == (
        5,
        len(columns.names),
    )
