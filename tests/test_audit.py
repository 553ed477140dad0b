"""Every rule of an audit on runs made by hand, whose answer is known on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audit_runs import (
    CLASSES,
    OBJECT,
    SIDE,
    Photo,
    id_of,
    mixed,
    on_box,
    right,
    spot,
    write,
)
from scorecam.audit.findings import Audit, audit
from scorecam.audit.regions import REGIONS, inside, of_region, overlap, resampled, share
from scorecam.audit.significance import (
    cliff,
    greater,
    holm,
    more_often,
    positive,
    rank_correlation,
)

pytestmark = pytest.mark.needs("audit")

BESIDE = (0.75, 0.25, 1.0, 0.5)
"""Where another object stands: 2 by 2 cells, 1/16 of the picture, in no corner."""

CORNER = spot((0, 0), (0, 1), (1, 0), (1, 1))
PLACE = {region.name: region for region in REGIONS}


def audited(folder: Path, photos: list[Photo], **others: bool | str) -> Audit:
    return audit(write(folder / "run", photos, **others))  # type: ignore[arg-type]


def clean(*labels: int, count: int = 10, boxes: bool = True) -> list[Photo]:
    """Photos with the map on the object alone."""
    return [photo for label in labels for photo in right(label, on_box(), count, boxes=boxes)]


# ── places ───────────────────────────────────────────────────────────────────────────────────


def test_a_box_that_cuts_a_cell_has_its_part_of_it() -> None:
    found = overlap((0.0, 0.25, 0.5, 0.625), (4, 4))
    assert found.tolist() == [[0] * 4, [1, 1, 0, 0], [0.5, 0.5, 0, 0], [0] * 4]


@pytest.mark.parametrize("grid", [(7, 7), (10, 10), (3, 5), (1, 1)])
def test_a_named_region_covers_its_area_on_every_grid(grid: tuple[int, int]) -> None:
    for region in REGIONS:
        assert of_region(region, grid).mean() == pytest.approx(region.area)
    ninths = [of_region(region, grid) for region in REGIONS if region.kind == "part"]
    assert np.allclose(sum(ninths), 1)


def test_shares_are_parts_of_the_maps_sum() -> None:
    heat = mixed((0.7, CORNER), (0.3, on_box()))
    assert share(heat, of_region(PLACE["the upper left corner"], (SIDE, SIDE))) == pytest.approx(
        0.7
    )
    assert share(heat, inside([OBJECT], (SIDE, SIDE))) == pytest.approx(0.3)
    assert share(np.zeros((2, 2)), np.ones((2, 2))) == 0


def test_a_map_is_brought_to_another_grid_by_area() -> None:
    assert np.allclose(resampled(np.array([[1.0, 3.0]]), 2), [[1 / 8, 3 / 8], [1 / 8, 3 / 8]])
    assert np.allclose(resampled(np.eye(3), 1), [[1.0]])


# ── numbers ──────────────────────────────────────────────────────────────────────────────────


def test_holms_correction_by_hand() -> None:
    # Sorted: 0.005 × 4, 0.01 × 3, 0.03 × 2, and 0.04 × 1, which may not fall below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_effects_and_tests_by_hand() -> None:
    assert cliff([1, 2], [1, 3]) == -0.25
    assert cliff([2, 3], [0, 1]) == 1
    assert cliff([], [1]) == 0
    assert greater([3, 4], [1, 2]) == pytest.approx(1 / 6)  # one of the 6 ways to choose 2 of 4
    assert greater([1, 1], [1, 1]) == 1
    assert positive([1, 2, 3]) == pytest.approx(1 / 8)  # one of the 8 ways to give 3 signs
    assert positive([0, 0]) == 1
    assert more_often(3, 3, 0, 3) == pytest.approx(1 / 20)
    assert rank_correlation([1, 2, 3], [2, 4, 9]) == pytest.approx(1)
    assert rank_correlation([1, 1, 1], [2, 4, 9]) is None


# ── shortcuts that were planted ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("boxes", "gallery", "level"),
    [(True, True, "problem"), (False, True, "warning"), (True, False, "warning")],
)
def test_a_corner_that_a_class_is_recognised_by_is_the_first_finding(
    tmp_path: Path, boxes: bool, gallery: bool, level: str
) -> None:
    marked = right(0, mixed((0.7, CORNER), (0.3, on_box())), 10, boxes=boxes)
    found = audited(tmp_path, marked + clean(1, 2, 3, boxes=boxes), gallery=gallery)
    first = found.findings[0]
    assert (first.rule, first.label, first.region) == ("corner", "ant", "the upper left corner")
    assert first.level == level
    assert first.size == pytest.approx(0.7, abs=1e-3)  # maps are kept in 16 bits
    assert "70 % of the map" in first.sentence
    assert "Cliff's delta 1.00" in first.effect
    assert first.p is not None
    assert first.p < 1e-4
    assert set(first.photos) == {id_of(number) for number in range(10)}
    assert [each.label for each in found.findings if each.level == "problem"] == ["ant"] * boxes * (
        gallery
    )


def test_what_lies_on_the_object_is_no_finding_even_in_a_corner(tmp_path: Path) -> None:
    box = (0.0, 0.0, 0.25, 0.25)
    photos = [Photo(0, CORNER, things=[("ant", box)]) for _ in range(10)]
    assert audited(tmp_path, photos + clean(1, 2)).findings == ()


def test_a_mark_that_every_class_has_is_found_against_an_even_map(tmp_path: Path) -> None:
    heat = mixed((0.4, CORNER), (0.6, on_box()))
    photos = [photo for label in range(3) for photo in right(label, heat, 10)]
    first = audited(tmp_path, photos).findings[0]
    assert (first.rule, first.label, first.level) == ("corner", None, "problem")
    assert first.size == pytest.approx(0.4 - 4 / 64, abs=1e-3)


def test_a_frame_is_the_border_rather_than_one_edge(tmp_path: Path) -> None:
    frame = np.ones((SIDE, SIDE))
    frame[1:-1, 1:-1] = 0
    photos = right(0, mixed((0.95, frame), (0.05, on_box())), 10) + clean(1, 2)
    first = audited(tmp_path, photos).findings[0]
    assert (first.rule, first.label, first.region) == ("border", "ant", "the border")


@pytest.mark.parametrize(("boxes", "level"), [(True, "problem"), (False, "note")])
def test_the_same_ninth_over_a_class_is_a_problem_only_off_the_object(
    tmp_path: Path, boxes: bool, level: str
) -> None:
    ninth = np.zeros((SIDE, SIDE))
    ninth[3:5, 6:7] = 1
    photos = right(0, mixed((0.8, ninth), (0.2, on_box())), 10, boxes=boxes)
    first = audited(tmp_path, photos + clean(1, 2, boxes=boxes)).findings[0]
    assert (first.rule, first.level) == ("same-region", level)
    assert first.region == "the right middle"


def test_another_object_that_a_class_is_recognised_by_is_named(tmp_path: Path) -> None:
    lured = right(0, mixed((0.8, on_box(BESIDE)), (0.2, on_box())), 10, others=[("cat", BESIDE)])
    beside = right(1, on_box(), 10, others=[("dog", BESIDE)])
    first = audited(tmp_path, lured + beside + clean(2, 3)).findings[0]
    assert (first.rule, first.level, first.label) == ("other-object", "problem", "ant")
    assert first.region == "the box of 'cat'"
    assert first.size == pytest.approx(0.8 - 1 / 16, abs=1e-3)
    assert "80 % of the map lies on 'cat'" in first.sentence
    assert "'cat' stands beside 'ant' in 10 of 10 right photos, and in 0 of 20" in first.evidence[1]


def test_another_object_with_less_than_the_object_itself_is_a_note(tmp_path: Path) -> None:
    heat = mixed((0.3, on_box(BESIDE)), (0.7, on_box()))
    found = audited(tmp_path, right(0, heat, 10, others=[("cat", BESIDE)]) + clean(1, 2))
    [told] = [each for each in found.findings if each.rule == "other-object"]
    assert told.level == "note"


def test_right_for_the_wrong_reason_wherever_else_the_maps_lie(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    off: list[Photo] = []
    for _ in range(12):
        heat = random.random((SIDE, SIDE))
        heat[on_box() > 0] = 0
        off += right(0, heat)
    found = audited(tmp_path, off + clean(1, 2))
    [told] = [each for each in found.findings if each.level == "problem"]
    assert (told.rule, told.label) == ("wrong-reason", "ant")
    assert told.size == pytest.approx(1 / 16)
    assert "100 % of the map lies off the object" in told.sentence


def test_a_part_of_a_class_with_a_mark_is_told_with_its_photos(tmp_path: Path) -> None:
    photos = right(0, mixed((0.7, CORNER), (0.3, on_box())), 10) + clean(0, count=20)
    found = audited(tmp_path, photos + clean(1, 2, 3, count=20))
    first = found.findings[0]
    assert (first.rule, first.level, first.label) == ("subgroup", "warning", "ant")
    assert "10 of 30" in first.sentence
    assert first.region == "the upper left corner"
    assert set(first.photos) == {id_of(number) for number in range(10)}
    assert [len(each.photos) for each in found.clusters["ant"]] == [20, 10]


# ── doubts ───────────────────────────────────────────────────────────────────────────────────


def test_variants_that_disagree_are_told(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    photos: list[Photo] = []
    for number in range(20):
        heat = random.random((SIDE, SIDE))
        [photo] = right(number % 2, heat)
        if number < 12:
            photo.views = {"official": heat, "algorithm1": heat, "increase": 1 - heat}
        photos.append(photo)
    found = audited(tmp_path, photos)
    [told] = [each for each in found.findings if each.rule == "fragile"]
    assert (told.level, told.size) == ("warning", 0.6)
    assert "12 of 20 maps" in told.sentence
    assert "official and increase" in told.evidence[1]


def test_the_variant_that_is_zero_in_most_places_is_not_compared(tmp_path: Path) -> None:
    photos = clean(0, 1)
    for photo in photos:
        photo.views = {"consensus": spot((7, 7))}
    assert audited(tmp_path, photos).findings == ()


def test_a_reduced_budget_with_a_large_error_is_told(tmp_path: Path) -> None:
    photos = clean(0, 1)
    for photo in photos[:4]:
        photo.error = 0.3
    [told] = audited(tmp_path, photos).findings
    assert (told.rule, told.level, told.size) == ("fragile", "note", 0.2)
    assert told.photos == tuple(sorted(told.photos, key=[id_of(n) for n in range(4)].index))


@pytest.mark.parametrize("target", ["label", "predicted"])
def test_classes_confused_through_one_place_are_told(tmp_path: Path, target: str) -> None:
    things = [("ant", OBJECT)]
    mark = mixed((0.6, CORNER), (0.4, on_box()))
    aimed = {"map": on_box(), "prediction": mark}
    if target == "predicted":
        aimed = {"map": mark, "prediction": on_box()}
    mixed_up = [Photo(0, taken=1, things=things, **aimed) for _ in range(5)]
    found = audited(tmp_path, mixed_up + clean(0, 1, 2), target=target)
    [told] = found.findings
    assert (told.rule, told.level) == ("confused", "warning")
    assert "5 photos of 'ant' are taken for 'bee'" in told.sentence
    assert told.region == "the upper left corner"
    assert told.size == pytest.approx(0.6, abs=0.01)


def test_classes_confused_through_another_object_are_told(tmp_path: Path) -> None:
    things = [("ant", OBJECT), ("dog", BESIDE)]
    mixed_up = [
        Photo(0, on_box(), taken=1, prediction=on_box(BESIDE), things=things) for _ in range(12)
    ]
    found = audited(tmp_path, mixed_up + clean(0, 1, 2))
    told = found.findings[0]
    assert (told.rule, told.region) == ("confused", "the box of 'dog'")
    assert told.size == pytest.approx(1 - 1 / 16)


def test_a_wrong_prediction_is_told_in_words(tmp_path: Path) -> None:
    things = [("ant", OBJECT), ("dog", BESIDE)]
    lured = Photo(
        0, on_box(), taken=1, prediction=on_box(BESIDE), things=things, contrast=CORNER
    )  # fmt: skip
    flat = Photo(0, on_box(), taken=1, contrast=np.zeros((SIDE, SIDE)), things=things)
    even = Photo(0, np.ones((SIDE, SIDE)), taken=1, prediction=CORNER)
    found = audited(tmp_path, [lured, flat, even])
    whole, outside = "(100 % of the map, on 6 % of the area)", ", outside the labelled object."
    assert found.wrong[id_of(0)] == (
        "This is 'ant', and was taken for 'bee' (50 %).",
        f"For 'bee' it looked at the box of 'dog' {whole}{outside}",
        f"For 'ant' it looked at the labelled object {whole}.",
        f"What speaks for 'bee' rather than for 'ant' is at the upper left corner {whole}{outside}",
    )
    assert (
        found.wrong[id_of(1)][-1] == "No part of the picture speaks for 'bee' more than for 'ant'."
    )
    assert found.wrong[id_of(2)][2].endswith("at no one place: the map is spread over the picture.")


# ── silence ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(24))
def test_a_clean_model_on_clean_data_yields_nothing_above_a_note(tmp_path: Path, seed: int) -> None:
    """Objects anywhere, maps blurred over them with noise; some classes small, some rare; some
    predictions wrong; without boxes every third time."""
    random = np.random.default_rng(seed)
    photos: list[Photo] = []
    for _ in range(160):
        label = int(random.integers(0, 4))
        taken = label if random.random() < 0.8 else int(random.integers(0, 4))
        across = 2 + label  # classes are of different size
        x, y = random.integers(0, SIDE - across + 1, 2) / SIDE
        box = (float(x), float(y), float(x + across / SIDE), float(y + across / SIDE))
        things = None if seed % 3 == 2 else [(CLASSES[label], box)]

        def heat(box: tuple[float, float, float, float] = box) -> np.ndarray:
            noise = random.exponential(size=(SIDE, SIDE)) * (0.15 + on_box(box))
            return noise / noise.max()

        photos.append(Photo(label, heat(), taken, prediction=heat(), things=things))
    found = audited(tmp_path, photos)
    assert [each for each in found.findings if each.level != "note"] == []


def test_maps_of_pure_noise_yield_nothing_above_a_note_in_twenty_runs(tmp_path: Path) -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        photos = [
            photo
            for label in range(4)
            for _ in range(12)
            for photo in right(label, random.random((SIDE, SIDE)))
        ]
        found = audited(tmp_path / str(seed), photos)
        assert [each for each in found.findings if each.level != "note"] == []
