"""Metrics of heatmaps, with values that can be computed by hand."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from scorecam.errors import SettingError
from scorecam.metrics.adcc import ADCC
from scorecam.metrics.faithfulness import Deletion, Insertion, Recognition
from scorecam.metrics.localisation import Energy, Overlap, Pointing, covered, iou
from scorecam.metrics.masks import blurred, ranks, shown, soft_mask
from scorecam.metrics.metric import Seen, Truth
from scorecam.metrics.names import METRICS, PRESETS, parse_metrics
from scorecam.metrics.similarity import pearson

HEIGHT, WIDTH = 10, 20  # 200 pixels: 100 steps of two
ROW, COLUMN = 2, 13  # the only pixel the model sees; its column exceeds the height


def one_pixel(images: Tensor) -> Tensor:
    """A model that sees a single pixel; the probability is its value."""
    return images[:, 0, ROW, COLUMN]


def seen(heatmap: Tensor, ask: Callable[[Tensor], Tensor] = one_pixel, **others: object) -> Seen:
    image = torch.ones(3, *heatmap.shape)
    return Seen(heatmap, image, ask, **others)  # type: ignore[arg-type]


def perfect() -> Tensor:
    heatmap = torch.zeros(HEIGHT, WIDTH)
    heatmap[ROW, COLUMN] = 1.0
    return heatmap


def worst() -> Tensor:
    return 1 - perfect()


# ── deletion and insertion ───────────────────────────────────────────────────────────────────


def test_the_perfect_map_deletes_and_inserts_first() -> None:
    half_a_step = 0.5 / 100
    assert Deletion().measure(seen(perfect())).values["deletion"] == pytest.approx(half_a_step)
    assert Insertion().measure(seen(perfect())).values["insertion"] == pytest.approx(
        1 - half_a_step
    )


def test_the_worst_map_deletes_and_inserts_last() -> None:
    half_a_step = 0.5 / 100
    assert Deletion().measure(seen(worst())).values["deletion"] == pytest.approx(1 - half_a_step)
    assert Insertion().measure(seen(worst())).values["insertion"] == pytest.approx(half_a_step)


def test_curves_have_101_points_and_the_known_ends() -> None:
    def brightness(images: Tensor) -> Tensor:
        return images.mean(dim=(1, 2, 3))

    result = seen(torch.rand(224, 224), brightness)
    down = Deletion().measure(result).curves["deletion"]
    up = Insertion().measure(result).curves["insertion"]
    assert len(down) == len(up) == 101
    assert (down[0], down[-1], up[0], up[-1]) == pytest.approx((1, 0, 0, 1))
    # Every pixel counts the same: the curves are straight lines.
    assert down == pytest.approx([1 - min(502 * i, 50_176) / 50_176 for i in range(101)], abs=1e-5)


def test_ties_are_broken_in_reading_order() -> None:
    """For a flat map, the first half of the rows goes first."""
    scored: list[Tensor] = []

    def remember(images: Tensor) -> Tensor:
        scored.extend(images)
        return images.mean(dim=(1, 2, 3))

    Deletion(steps=2).measure(seen(torch.ones(4, 6), remember))
    [halfway] = [image for image in scored if 0 < float(image.sum()) < image.numel()]
    assert float(halfway[:, :2].sum()) == 0
    assert float(halfway[:, 2:].min()) == 1


def test_deleted_pixels_get_the_fill_and_insertion_starts_with_it() -> None:
    fill = torch.full((3, HEIGHT, WIDTH), 0.25)
    down = Deletion().measure(seen(perfect(), fill=fill)).curves["deletion"]
    up = Insertion().measure(seen(perfect(), fill=fill)).curves["insertion"]
    assert (down[0], down[1], down[-1], up[0], up[1]) == (1, 0.25, 0.25, 0.25, 1)


def test_insertion_can_start_from_a_blurred_image() -> None:
    image = torch.zeros(3, 15, 21)
    image[:, 7, 10] = 1.0
    result = Seen(torch.ones(15, 21), image, lambda images: images[:, 0, 7, 10])
    start = METRICS["insertion-blurred"].measure(result).curves["insertion_blurred"][0]
    bell = torch.exp(-(torch.arange(-5.0, 6) ** 2) / 50)
    assert start == pytest.approx(float((bell[5] / bell.sum()) ** 2))
    assert float(blurred(torch.ones(1, 31, 31))[0, 15, 15]) == pytest.approx(1)


@hypothesis.given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 2**31))
def test_curves_depend_only_on_ranks(height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    heatmap = torch.rand(height, width, generator=generator)
    weights = torch.rand(height, width, generator=generator)

    def ask(images: Tensor) -> Tensor:
        return (images[:, 0] * weights).sum(dim=(1, 2)) / weights.sum()

    one = Deletion().measure(seen(heatmap, ask)).values["deletion"]
    # In float64, where the exponentials of two float32 numbers are never one.
    other = Deletion().measure(seen(heatmap.double().exp(), ask)).values["deletion"]
    assert one == pytest.approx(other, abs=1e-6)


# ── recognition ──────────────────────────────────────────────────────────────────────────────


def test_recognition_of_the_perfect_and_the_worst_map() -> None:
    good = Recognition().measure(seen(perfect())).values
    bad = Recognition().measure(seen(worst())).values
    assert (good["average_drop"], bad["average_drop"]) == (0, 1)
    assert good["average_increase"] == bad["average_increase"] == 0


def test_hiding_pixels_can_give_increase_and_gain() -> None:
    """The model is at 0.6, and at 0.8 once the last pixel is hidden."""

    def ask(images: Tensor) -> Tensor:
        return 0.8 - 0.2 * images[:, 0, -1, -1]

    heatmap = torch.arange(float(HEIGHT * WIDTH)).flip(0).reshape(HEIGHT, WIDTH)
    values = Recognition().measure(seen(heatmap, ask)).values
    assert values["average_increase"] == 1
    assert values["average_drop"] == 0
    assert values["average_gain"] == pytest.approx((0.8 - 0.6) / (1 - 0.6))


def test_the_drop_is_relative_to_the_images_own_probability() -> None:
    def ask(images: Tensor) -> Tensor:
        return 0.1 + 0.3 * images[:, 0, 0, 0]

    assert Recognition().measure(seen(perfect(), ask)).values["average_drop"] == pytest.approx(
        (0.4 - 0.1) / 0.4
    )


@pytest.mark.parametrize("muted", [0.0, 0.25, 0.5, 1.0])
def test_the_exact_share_is_masked_even_for_a_flat_map(muted: float) -> None:
    for heatmap in (torch.ones(7, 9), torch.rand(7, 9), torch.zeros(7, 9)):
        mask = shown(heatmap, muted, soft=False)
        assert int(mask.sum()) == 63 - round(muted * 63)


def test_a_soft_mask_keeps_the_scaled_values_of_one_half() -> None:
    heatmap = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert shown(heatmap).tolist() == [[0, 0], [0.5, 1]]
    assert shown(heatmap, soft=False).tolist() == [[0, 0], [1, 1]]


def test_a_flat_map_keeps_everything_or_nothing() -> None:
    assert soft_mask(torch.full((2, 2), 3.0)).tolist() == [[1, 1], [1, 1]]
    assert soft_mask(torch.zeros(2, 2)).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("answer", [math.nan, math.inf, 3.0, -2.0])
def test_invalid_probabilities_are_not_a_perfect_score(answer: float) -> None:
    """The photo scores 0.5; masked photos get an invalid probability."""

    def ask(images: Tensor) -> Tensor:
        whole = (images == 1).flatten(1).all(dim=1)
        return torch.where(whole, 0.5, answer)

    result = seen(torch.rand(HEIGHT, WIDTH), ask, explain=lambda image: image[0] + torch.rand(1))
    assert not Recognition().measure(result).values
    assert set(ADCC().measure(result).undefined) >= {"drop_soft", "adcc"}


def test_a_map_of_another_size_or_with_nan_is_refused() -> None:
    image = torch.ones(3, HEIGHT, WIDTH)
    with pytest.raises(SettingError, match="shape"):
        Seen(torch.rand(7, 7), image, one_pixel)
    with pytest.raises(SettingError, match="NaN"):
        Seen(torch.full((HEIGHT, WIDTH), math.nan), image, one_pixel)


def test_undefined_metrics_have_a_reason() -> None:
    nothing = Recognition().measure(seen(perfect(), lambda images: images[:, 0, 0, 0] * 0))
    assert set(nothing.undefined) == {"average_drop"}
    certain = Recognition().measure(seen(perfect()))
    assert set(certain.undefined) == {"average_gain"}
    assert all(certain.undefined.values())


# ── localisation ─────────────────────────────────────────────────────────────────────────────


def located(heatmap: Tensor, box: tuple[float, ...] | None = None, mask: Tensor | None = None):
    boxes = None if box is None else torch.tensor([box])
    return seen(heatmap, truth=Truth(boxes, mask))


def test_energy_is_one_inside_and_zero_outside_the_object() -> None:
    box = (12.0, 1.0, 16.0, 5.0)  # x from 12 to 16, which exists only on the second axis
    inside, outside = torch.zeros(HEIGHT, WIDTH), torch.ones(HEIGHT, WIDTH)
    inside[1:5, 12:16] = 3.0
    outside[1:5, 12:16] = 0.0
    area = 16 / (HEIGHT * WIDTH)
    for heatmap, energy in ((inside, 1), (outside, 0), (torch.ones(HEIGHT, WIDTH), area)):
        values = Energy().measure(located(heatmap, box)).values
        assert values["energy_box"] == pytest.approx(energy)
        assert values["chance_box"] == pytest.approx(area)


def test_energy_uses_the_raw_map() -> None:
    """Subtracting the minimum would make this 1."""
    heatmap = torch.ones(4, 4)
    heatmap[0, 0] = 2
    assert Energy().measure(located(heatmap, (0, 0, 1, 1))).values["energy_box"] == 2 / 17


def test_energy_in_a_mask_equals_relevance_mass_accuracy() -> None:
    heatmap, mask = torch.rand(6, 9), torch.rand(6, 9) > 0.6
    expected = float((heatmap * mask).sum() / heatmap.sum())  # Quantus' formula
    assert Energy().measure(located(heatmap, mask=mask)).values["energy_mask"] == pytest.approx(
        expected, abs=1e-6
    )


def test_cut_pixels_count_in_part_and_overlaps_once() -> None:
    cut = covered(torch.tensor([[0.5, 0.0, 2.0, 1.0]]), (2, 3))
    assert cut.tolist() == [[0.5, 1, 0], [0, 0, 0]]
    twice = covered(torch.tensor([[0.0, 0.0, 2.0, 1.0], [1.0, 0.0, 3.0, 1.0]]), (1, 3))
    assert twice.tolist() == [[1, 1, 1]]


@hypothesis.given(st.lists(st.floats(0, 8, width=32), min_size=4, max_size=4))
def test_the_covered_area_is_that_of_the_box(numbers: list[float]) -> None:
    (left, right), (top, bottom) = sorted(numbers[:2]), sorted(numbers[2:])
    area = float(covered(torch.tensor([[left, top, right, bottom]]), (8, 8)).sum())
    assert area == pytest.approx((right - left) * (bottom - top), abs=1e-4)


def test_pointing_hits_and_misses() -> None:
    heatmap = perfect()
    assert Pointing().measure(located(heatmap, (13, 2, 14, 3))).values == {"hit_box": 1}
    assert Pointing().measure(located(heatmap, (2, 9, 3, 10))).values == {"hit_box": 0}
    flat = Pointing().measure(located(torch.ones(4, 4), (0, 0, 1, 1)))
    assert "no single maximum" in flat.undefined["hit_box"]


def test_overlap_with_a_mask() -> None:
    heatmap = torch.tensor([[1.0, 0.6], [0.4, 0.0]])
    mask = torch.tensor([[True, False], [True, False]])
    assert iou(heatmap, mask.float(), 0.5) == 1 / 3
    assert Overlap().measure(located(heatmap, mask=mask)).values == {"iou_mask": 1 / 3}
    assert Overlap().measure(located(heatmap, mask=heatmap > 0.5)).values == {"iou_mask": 1}
    assert "constant" in str(Overlap().measure(located(torch.zeros(2, 2), mask=mask)))


@pytest.mark.parametrize(
    "metric", [Energy(), Pointing(), Overlap()], ids=lambda metric: metric.name
)
def test_localisation_without_an_object_is_undefined(metric: object) -> None:
    result = metric.measure(seen(perfect(), truth=Truth(why="Nobody drew a box.")))
    assert not result.values
    assert set(result.undefined) == {outcome.name for outcome in metric.outcomes}
    assert set(result.undefined.values()) == {"Nobody drew a box."}


def test_an_object_outside_the_input_is_undefined() -> None:
    gone = Energy().measure(located(perfect(), (0, 0, 0, 0), torch.zeros(HEIGHT, WIDTH) > 1))
    assert not gone.values
    assert "outside the model's input" in gone.undefined["energy_box"]


def test_a_map_of_zeros_has_no_energy() -> None:
    zero = Energy().measure(located(torch.zeros(4, 4), (0, 0, 2, 2)))
    assert "zero everywhere" in zero.undefined["energy_box"]
    assert zero.values == {"chance_box": 0.25}


# ── ADCC ─────────────────────────────────────────────────────────────────────────────────────


def test_adcc_and_its_parts() -> None:
    heatmap = torch.tensor([[1.0, 0.5], [0.0, 0.5]])
    # Half of the class is in the first pixel, half in the third: the mask hides the latter.
    result = Seen(
        heatmap,
        torch.ones(1, 2, 2),
        lambda images: 0.4 * images[:, 0, 0, 0] + 0.4 * images[:, 0, 1, 0],
        explain=lambda image: image[0] ** 2,
    )
    values = ADCC().measure(result).values
    coherency = (pearson(heatmap, heatmap**2) + 1) / 2
    assert values["complexity"] == 0.5
    assert values["drop_soft"] == pytest.approx(0.5)
    assert values["coherency"] == pytest.approx(coherency)
    assert values["adcc"] == pytest.approx(3 / (1 / coherency + 1 / 0.5 + 1 / 0.5))


def test_fake_cam_deceives_the_drop_but_not_adcc() -> None:
    fake = torch.ones(HEIGHT, WIDTH)
    fake[0, 0] = 0
    result = seen(fake, explain=lambda _: fake)
    assert ADCC().measure(result).values["drop_soft"] == 0
    assert ADCC().measure(result).values["adcc"] < 0.02


def test_adcc_without_the_method_is_undefined() -> None:
    result = ADCC().measure(seen(perfect()))
    assert set(result.undefined) == {"coherency", "adcc"}


def test_pearson_of_known_pairs() -> None:
    assert pearson(torch.tensor([1.0, 2, 3]), torch.tensor([2.0, 4, 6])) == pytest.approx(1)
    assert pearson(torch.tensor([1.0, 2, 3]), torch.tensor([3.0, 2, 1])) == pytest.approx(-1)
    assert math.isnan(pearson(torch.ones(3), torch.rand(3)))


# ── all metrics ──────────────────────────────────────────────────────────────────────────────


@hypothesis.given(st.floats(1e-6, 1e6), st.integers(0, 2**31))
@hypothesis.settings(max_examples=20)
def test_no_metric_depends_on_the_scale_of_the_map(factor: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    heatmap = torch.rand(6, 8, generator=generator)
    truth = Truth(torch.tensor([[1.0, 2.0, 5.0, 6.0]]), torch.rand(6, 8, generator=generator) > 0.5)

    def measured(of: Tensor) -> list[float]:
        result = seen(of, lambda images: images[:, 0, 3, 4] * 0.9, truth=truth)
        return [
            value for metric in METRICS.values() for value in metric.measure(result).values.values()
        ]

    assert measured(heatmap) == pytest.approx(measured(heatmap * factor), abs=1e-4)


def test_every_metric_reports_each_of_its_outcomes() -> None:
    truth = Truth(torch.tensor([[1.0, 2.0, 5.0, 6.0]]))
    result = seen(torch.rand(HEIGHT, WIDTH), truth=truth, explain=lambda image: image[0])
    for metric in METRICS.values():
        measured = metric.measure(result)
        reported = {*measured.values, *measured.undefined}
        assert reported == {outcome.name for outcome in metric.outcomes}
        assert all(map(math.isfinite, measured.values.values()))
    names = [outcome.name for metric in METRICS.values() for outcome in metric.outcomes]
    assert len(set(names)) == len(names)


def test_volumes_and_signals_are_measured_too() -> None:
    for size in ((12,), (3, 4, 5)):
        result = Seen(torch.rand(size), torch.ones(2, *size), lambda x: x.flatten(1).mean(dim=1))
        for metric in (Recognition(), Deletion(), Insertion()):
            assert metric.measure(result).values


def test_names_and_presets() -> None:
    assert [metric.name for metric in parse_metrics("paper")] == list(PRESETS["paper"])
    assert [metric.name for metric in parse_metrics("energy, pointing,energy")] == [
        "energy",
        "pointing",
    ]
    assert all(metric.source for metric in METRICS.values())
    with pytest.raises(SettingError, match=r"'deletion'"):
        parse_metrics("deletio")
    with pytest.raises(SettingError, match="No metric was named"):
        parse_metrics(" , ")


# ── other packages ───────────────────────────────────────────────────────────────────────────


class Given:
    """An extractor with given maps, as torchcam's metrics expect."""

    def __init__(self, model: nn.Module, maps: Tensor) -> None:
        self.model = model
        self.maps = maps

    def __call__(self, *_: object, **__: object) -> list[Tensor]:
        return [self.maps]

    def fuse_cams(self, cams: list[Tensor]) -> Tensor:
        return cams[0]

    def _hooks_off(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


@pytest.mark.needs("peers")
@pytest.mark.parametrize("size", [(20, 20), (17, 23), (30, 41)])
def test_metrics_equal_torchcams(size: tuple[int, int]) -> None:
    from torchcam import metrics

    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten())
    network = nn.Sequential(network, nn.Linear(72, 5), nn.Softmax(dim=1)).eval()
    network[1].weight.data *= 20
    images = torch.randn(4, 3, *size)
    maps = torch.stack([soft_mask(torch.rand(size).round(decimals=1)) for _ in images])  # with ties
    theirs = metrics.ClassificationMetric(Given(network, maps))
    theirs.update(images)
    curves = metrics.DeletionInsertionMetric(Given(network, maps), steps=100)
    curves.update(images)

    ours: dict[str, list[float]] = {}
    whole = Recognition(muted=0.0)
    for image, heatmap in zip(images, maps, strict=True):
        with torch.no_grad():
            column = int(network(image[None]).argmax())

            def ask(some: Tensor, column: int = column) -> Tensor:
                return network(some)[:, column].detach()

            result = Seen(heatmap, image, ask)
            for metric in (whole, Deletion(), Insertion()):
                for name, value in metric.measure(result).values.items():
                    ours.setdefault(name, []).append(value)
    mean = {name: sum(values) / len(values) for name, values in ours.items()}
    summary = {**theirs.summary(), **curves.summary()}
    assert mean["average_drop"] == pytest.approx(summary["avg_drop"], abs=1e-6)
    assert mean["average_increase"] == summary["conf_increase"]
    deletion, insertion = (
        next(value for name, value in summary.items() if kind in name)
        for kind in ("deletion", "insertion")
    )
    assert mean["deletion"] == pytest.approx(deletion, abs=1e-6)
    assert mean["insertion"] == pytest.approx(insertion, abs=1e-6)
    assert mean["average_drop"] > 0.01  # the compared values are not zero


def test_maps_of_any_scale_are_measured_unchanged() -> None:
    """A foreign map may be signed; localisation counts positive values."""
    signed = torch.tensor([[-5.0, 1.0], [0.0, 1.0]])
    assert Energy().measure(located(signed, (1, 0, 2, 1))).values["energy_box"] == 0.5
    result = replace(located(signed, (1, 0, 2, 1)), ask=lambda images: images[:, 0, 0, 1])
    assert Recognition().measure(result).values["average_drop"] == 0


def test_ranks_are_positions_in_the_order() -> None:
    assert ranks(torch.tensor([[3.0, 1.0], [3.0, 2.0]])).tolist() == [[0, 3], [1, 2]]
