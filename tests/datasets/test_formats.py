"""Every data set layout is read correctly, to the pixel."""

from __future__ import annotations

import os
import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scorecam.datasets.columns import columns_of
from scorecam.datasets.formats import FORMATS, find_format
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.photos import upright_size
from scorecam.datasets.sample import Dataset, Sample, Thing
from scorecam.datasets.selection import select, share
from scorecam.model import labels
from small_datasets import (
    GOLDFISH,
    SNAKE,
    TENCH,
    boxed,
    coco,
    flat,
    instances,
    made,
    only,
    photo,
    table,
    xml,
)

# ── folders ──────────────────────────────────────────────────────────────────────────────────


def test_class_folders_have_any_depth_without_hidden_files(
    tmp_path: Path,
) -> None:
    for name in ("dog/b.PNG", "cat/deep/er/a.jpg", "cat/.hidden.png", ".git/c.png", "dog/.x/d.png"):
        photo(tmp_path / name)
    (tmp_path / "cat/notes.txt").write_text("no photo")
    dataset = open_dataset(tmp_path)
    assert dataset.kind == "folder"
    assert [(sample.name, sample.label) for sample in dataset.samples] == [
        ("cat/deep/er/a.jpg", "cat"),
        ("dog/b.PNG", "dog"),
    ]
    assert dataset.classes == ("cat", "dog")
    assert dataset.samples[0].things is None


def test_flat_photos_have_no_class_and_mixtures_get_a_remark(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    assert only(open_dataset(tmp_path)).label is None
    photo(tmp_path / "cat/b.png")
    assert open_dataset(tmp_path).remarks == (
        "Photos without a class, because they are in no class folder: 1.",
    )


def test_file_names_may_contain_any_bytes(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9"
    try:
        Path(os.fsdecode(raw)).mkdir()
    except OSError:
        pytest.skip("this file system wants names in UTF-8")
    photo(Path(os.fsdecode(raw)) / "a b\n'ü.png")
    sample = only(open_dataset(tmp_path))
    assert len(sample.id) == 16
    assert upright_size(sample.path) == (40, 30)


def test_circular_links_are_not_followed_forever(tmp_path: Path) -> None:
    photo(tmp_path / "cat/a.png")
    (tmp_path / "cat/again").symlink_to(tmp_path, target_is_directory=True)
    assert [sample.name for sample in open_dataset(tmp_path).samples] == ["cat/a.png"]


def test_a_size_is_that_of_the_upright_photo(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    assert upright_size(photo(tmp_path / "a.jpg", exif=turned)) == (30, 40)
    assert upright_size(photo(tmp_path / "a.png", exif=turned)) == (30, 40)
    turned[0x0112] = 3
    assert upright_size(photo(tmp_path / "b.jpg", exif=turned)) == (40, 30)


# ── XML ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.needs("eval")
def test_voc_boxes_count_from_1_and_include_the_last_pixel(tmp_path: Path) -> None:
    result = boxed(tmp_path, (TENCH, 1, 1, 40, 30), (TENCH, 5, 7, 5, 7))
    assert result.kind == "imagenet"
    sample = only(result)
    assert sample.boxes(TENCH) == [(0, 0, 40, 30), (4, 6, 5, 7)]
    assert sample.failure is None
    assert result.remarks == ()


@pytest.mark.needs("eval")
def test_boxes_are_clipped_and_empty_ones_are_dropped(tmp_path: Path) -> None:
    result = boxed(
        tmp_path,
        (TENCH, -4, 5, 99, 12),
        (TENCH, 41, 5, 50, 9),  # to the right of the photo
        (TENCH, 9, 9, 8, 12),  # one pixel back: no area
        (TENCH, 20, 9, 10, 12),
    )
    assert only(result).boxes(TENCH) == [(0, 4, 40, 12)]
    remarks = " ".join(result.remarks)
    assert "clipped: 1." in remarks
    assert "Boxes without area inside their photo, which were dropped: 3." in remarks


@pytest.mark.needs("eval")
def test_boxes_for_another_photo_size_are_scaled_with_a_remark(tmp_path: Path) -> None:
    result = boxed(tmp_path, (TENCH, 21, 11, 60, 40), size=(80, 60))
    assert only(result).boxes(TENCH) == [(10, 5, 30, 20)]
    assert result.remarks == (
        "Photos of a different size than their annotation, whose boxes were scaled: 1.",
    )


@pytest.mark.needs("eval")
def test_boxes_for_another_aspect_ratio_are_a_failure(tmp_path: Path) -> None:
    result = boxed(tmp_path, (TENCH, 1, 1, 5, 5), size=(30, 40))
    sample = only(result)
    assert sample.things is None
    assert "30 × 40" in str(sample.failure)
    assert "40 × 30" in str(sample.failure)
    assert "EXIF" in str(sample.failure)


@pytest.mark.needs("eval")
def test_a_damaged_photo_with_a_valid_annotation_is_kept(tmp_path: Path) -> None:
    boxed(tmp_path, (TENCH, 2, 2, 50, 20))
    (tmp_path / TENCH / "a.png").write_bytes(b"\x89PNG no more")
    sample = only(open_dataset(tmp_path))
    assert sample.failure is None
    assert sample.boxes(TENCH) == [(1, 1, 40, 20)]  # clipped to the size in the annotation


# ── ImageNet ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.needs("eval")
def test_imagenet_is_read_with_annotations_and_masks(
    tmp_path: Path,
) -> None:
    photo(tmp_path / f"images/{TENCH}/a.JPEG")
    photo(tmp_path / f"images/{GOLDFISH}/b.JPEG")
    xml(tmp_path / "Annotations/a.xml", (TENCH, 3, 3, 9, 9), (SNAKE, 11, 11, 12, 12))
    exact = np.zeros((30, 40), dtype=np.uint8)
    exact[4:8, 10:30] = 255
    (tmp_path / "masks" / TENCH).mkdir(parents=True)
    Image.fromarray(exact).save(tmp_path / f"masks/{TENCH}/a.png")
    dataset = open_dataset(tmp_path)
    first, second = dataset.samples
    assert (first.name, first.label) == (f"images/{TENCH}/a.JPEG", TENCH)
    assert first.boxes(TENCH) == [(2, 2, 9, 9)]
    assert first.boxes(SNAKE) == [(10, 10, 12, 12)]
    read = pickle.loads(pickle.dumps(first)).mask  # a worker elsewhere may read it
    assert read is not None
    assert read().dtype == bool
    assert np.array_equal(read(), exact > 0)
    assert (second.things, second.mask) == (None, None)
    assert dataset.remarks == ("Photos without an annotation: 1.",)


@pytest.mark.needs("eval")
def test_a_photo_with_two_classes_has_the_mask_of_its_own(tmp_path: Path) -> None:
    photo(tmp_path / f"images/{TENCH}/a.png")
    for wnid, grey in ((TENCH, 255), (SNAKE, 0)):
        (tmp_path / "masks" / TENCH).mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 30), grey).save(tmp_path / f"masks/{TENCH}/a_{wnid}.png")
    read = only(open_dataset(tmp_path)).mask
    assert read is not None
    assert read().all()


@pytest.mark.parametrize(
    "lines",
    [
        f"{{2}} {TENCH}\n{{0}} {SNAKE}\n{{1}} {GOLDFISH}\n",
        "{0} 65\n{1} 1\n{2} 0\n",
        f"val/{{0}}\t{SNAKE}\nval/{{1}} {GOLDFISH}\nval/{{2}} {TENCH}\n",
        (
            "ImageId,PredictionString\n"
            f"ILSVRC2012_val_00000001,{SNAKE} 1 2 3 4 {SNAKE} 5 6 7 8 \n"
            f"ILSVRC2012_val_00000003,{TENCH} 1 2 3 4\n"
            f"ILSVRC2012_val_00000002,{GOLDFISH} 1 2 3 4\n"
        ),
        f"{SNAKE}\n{GOLDFISH}\n{TENCH}\n",
        "65\n1\n0\n",
    ],
)
def test_common_class_lists_are_read(tmp_path: Path, lines: str) -> None:
    names = flat(tmp_path)
    truth = tmp_path / "val.txt"
    truth.write_text(lines.format(*names))
    dataset = open_dataset(tmp_path / "val", annotations=truth)
    assert dataset.kind == "imagenet"
    assert [sample.label for sample in dataset.samples] == [SNAKE, GOLDFISH, TENCH]
    assert [sample.name for sample in dataset.samples] == names


@pytest.mark.needs("eval")
def test_the_organisers_list_is_read_with_its_development_kit(tmp_path: Path) -> None:
    from scipy.io import savemat

    flat(tmp_path)
    kit = tmp_path / "devkit/data"
    kit.mkdir(parents=True)
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("490\n2\n1\n")
    fields = [("ILSVRC2012_ID", float), ("WNID", object)]
    synsets = np.array([(1, TENCH), (2, GOLDFISH), (490, SNAKE), (1001, "n00001740")], fields)
    savemat(kit / "meta.mat", {"synsets": synsets})
    for where in (kit.parent, kit, kit / "ILSVRC2012_validation_ground_truth.txt"):
        dataset = open_dataset(tmp_path / "val", annotations=where)
        assert [sample.label for sample in dataset.samples] == [SNAKE, GOLDFISH, TENCH]


@pytest.mark.needs("eval")
def test_flat_photos_without_a_list_get_the_class_of_their_xml(tmp_path: Path) -> None:
    names = flat(tmp_path, 2)
    xml(tmp_path / "xml/val" / names[0].replace("JPEG", "xml"), (SNAKE, 1, 1, 2, 2))
    both = ((SNAKE, 1, 1, 2, 2), (TENCH, 1, 1, 2, 2))
    xml(tmp_path / "xml/val" / names[1].replace("JPEG", "xml"), *both)
    dataset = open_dataset(tmp_path / "val", annotations=tmp_path / "xml")
    assert [sample.label for sample in dataset.samples] == [SNAKE, None]
    assert "Photos without a class" in dataset.remarks[0]


# ── VOC ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.needs("eval")
def test_vocs_label_is_the_largest_object_that_is_not_difficult(voc: Path) -> None:
    dataset = open_dataset(voc, split="val")
    first, second = dataset.samples
    assert (dataset.kind, len(dataset)) == ("voc", 2)
    assert first.label == "cat"
    assert first.boxes("dog") == [(0, 0, 40, 30)]
    assert first.boxes("cat") == [(2, 2, 9, 9)]
    assert second.label is None
    assert "largest object that is not marked difficult" in dataset.remarks[0]


@pytest.mark.needs("eval")
def test_a_voc_split_is_a_list_and_the_default_is_all_photos(voc: Path) -> None:
    assert [sample.name for sample in open_dataset(voc, split="cat_val").samples] == [
        "JPEGImages/1.jpg"
    ]
    whole = open_dataset(voc)
    assert len(whole) == 3
    assert whole.samples[2].things is None


# ── COCO ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.needs("eval")
def test_coco_is_read_with_boxes_and_masks_but_no_crowds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = coco(tmp_path, instances())
    for source, extra in ((tmp_path, None), (tmp_path / "val2017", path), (path, None)):
        dataset = open_dataset(source, annotations=extra)
        assert dataset.kind == "coco"
        sample = only(dataset)
        assert sample.label == "cat"
        assert sample.boxes("cat") == [(10, 5, 20, 15), (0, 0, 2.5, 30)]
        assert sample.boxes("dog") == [(30, 20, 33, 23)]
        assert "Crowd regions that were left out: 1." in dataset.remarks
        assert sample.mask is not None
        expected = np.zeros((30, 40), dtype=bool)
        expected[5:15, 10:20] = expected[:, :2] = True
        assert np.array_equal(sample.mask(), expected)
    assert capsys.readouterr().out == ""


@pytest.mark.needs("eval")
def test_coco_masks_are_scaled_with_a_smaller_photo(tmp_path: Path) -> None:
    coco(tmp_path, instances())
    photo(tmp_path / "val2017/a.jpg", 20, 15)
    sample = only(open_dataset(tmp_path, split="val2017"))
    assert sample.boxes("cat") == [(5, 2.5, 10, 7.5), (0, 0, 1.25, 15)]
    assert sample.mask is not None
    assert sample.mask().shape == (15, 20)


@pytest.mark.needs("eval")
def test_compressed_run_lengths_in_coco_are_read(tmp_path: Path) -> None:
    from pycocotools import mask as tools

    expected = np.zeros((30, 40), dtype=bool)
    expected[3:9, 20:31] = True
    runs = tools.encode(np.asfortranarray(expected.astype(np.uint8)))
    counts = {"size": [30, 40], "counts": runs["counts"].decode()}
    objects = instances()["annotations"]
    coco(tmp_path, instances(annotations=[objects[0] | {"segmentation": counts}]))
    read = only(open_dataset(tmp_path)).mask
    assert read is not None
    assert np.array_equal(read(), expected)


# ── lists ────────────────────────────────────────────────────────────────────────────────────


def test_a_csv_list_has_several_rows_for_several_boxes(tmp_path: Path) -> None:
    photo(tmp_path / "in/a, b.png")
    photo(tmp_path / "c.png")
    mask = np.zeros((30, 40), dtype=np.uint8)
    mask[3] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    first = {"path": "in/a, b.png", "label": "cat", "mask": "m.png"}
    one, two = (dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)) for box in
                ((0.5, 1, 3, 4), (30, 20, 50, 25)))  # fmt: skip
    listed = table(
        tmp_path / "list.csv",
        first | one,
        first | two,
        {"path": str(tmp_path / "in/../c.png"), "label": "7"},
        first | one,
    )
    dataset = open_dataset(listed)
    other, sample = dataset.samples
    assert dataset.kind == "list"
    assert [sample.name for sample in dataset.samples] == ["c.png", "in/a, b.png"]
    assert sample.boxes("cat") == [(0.5, 1, 3, 4), (30, 20, 40, 25)]
    assert (other.label, other.things, other.mask) == ("7", (), None)
    assert sample.mask is not None
    assert np.array_equal(sample.mask(), mask > 0)
    assert "Repeated rows that were left out: 1." in dataset.remarks


def test_a_list_without_boxes_annotates_nothing(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    assert only(open_dataset(table(tmp_path / "l.csv", {"path": "a.png"}))).things is None


@pytest.mark.needs("eval")
def test_a_parquet_list_equals_csv_and_keeps_numbers(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    for name in ("a.png", "b.png"):
        photo(tmp_path / name)
    columns: dict[str, list[Any]] = {"path": ["a.png", "b.png"], "label": [281.0, float("nan")]}
    columns |= {side: [value, None] for side, value in zip(("x1", "y1", "x2", "y2"), (1, 2, 3.5, 4), strict=True)}  # fmt: skip  # noqa: E501
    parquet.write_table(pa.table(columns), tmp_path / "list.parquet")
    first, second = open_dataset(tmp_path / "list.parquet").samples
    assert (first.label, first.boxes(281)) == (281, [(1, 2, 3.5, 4)])
    assert second.label is None


# ── selection ────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 4), st.randoms())
def test_a_selection_depends_only_on_names_and_seed(
    seed: int, limit: int, shards: int, order: random.Random
) -> None:
    ordered = made(12)
    mixed = list(ordered.samples)
    order.shuffle(mixed)
    names = [s.name for s in select(ordered, limit=limit, seed=seed).samples]
    shuffled = select(replace(ordered, samples=tuple(mixed)), limit=limit, seed=seed)
    assert [s.name for s in shuffled.samples] == names == sorted(names)
    assert len(names) == limit
    larger = select(ordered, limit=min(limit + 1, 12), seed=seed)
    assert set(names) <= {s.name for s in larger.samples}
    parts = [
        select(ordered, limit=limit, seed=seed, shard=(i + 1, shards)).samples
        for i in range(shards)
    ]
    assert sorted(s.name for part in parts for s in part) == names


def test_different_seeds_select_different_photos() -> None:
    draws = {tuple(s.name for s in select(made(30), limit=5, seed=i).samples) for i in range(20)}
    assert len(draws) > 15


def test_filters_of_the_paper_are_applied(tmp_path: Path) -> None:
    def sample(name: str, *boxes: tuple[float, float, float, float], label: str = "cat") -> Sample:
        path = photo(tmp_path / name)
        return Sample(name, path, label, tuple(Thing("cat", box) for box in boxes))

    half, more, small = (0, 0, 20, 30), (0, 0, 21, 30), (30, 20, 35, 25)
    samples = [
        sample("half.png", half),
        sample("more.png", more),
        sample("two.png", small, half),
        sample("dog.png", small, label="dog"),
        replace(sample("bare.png"), things=None),
        replace(sample("unnamed.png", small), label=None),
        replace(sample("lost.png", small), path=tmp_path / "gone.png"),
    ]
    whole = Dataset(tmp_path, "folder", tuple(samples), ("cat", "dog"))
    result = select(whole, single=True, at_most=0.5)
    assert [sample.name for sample in result.samples] == ["half.png", "lost.png"]
    assert "gone.png" in str(result.samples[1].failure)
    assert result.classes == ("cat", "dog")
    assert set(result.remarks) == {
        "1 of 7 photos left out: no class.",
        "1 of 7 photos left out: no annotation of their objects.",
        "1 of 7 photos left out: no box of their class.",
        "1 of 7 photos left out: more than one box of their class.",
        "1 of 7 photos left out: objects of their class cover more than 50%.",
    }
    assert "two.png" not in {s.name for s in select(whole, at_most=0.5).samples}
    assert "more.png" in {s.name for s in select(whole, single=True).samples}


SPANS = st.tuples(st.integers(0, 11), st.integers(1, 5))
SIDES = st.tuples(SPANS, SPANS).map(lambda s: (s[0][0], s[1][0], sum(s[0]), sum(s[1])))


@given(st.lists(SIDES, max_size=5))
def test_a_share_is_the_union_of_the_boxes(boxes: list[tuple[int, int, int, int]]) -> None:
    painted = np.zeros((9, 10), dtype=bool)
    for x1, y1, x2, y2 in boxes:
        painted[y1:y2, x1:x2] = True
    assert share(boxes, (10, 9)) == pytest.approx(painted.mean())


# ── columns ──────────────────────────────────────────────────────────────────────────────────


def test_wordnet_ids_are_in_the_usual_order() -> None:
    wnids = labels.imagenet_wnids()
    assert len(set(wnids)) == 1000
    assert list(wnids) == sorted(wnids)
    names = dict(zip(wnids, labels.imagenet(), strict=True))
    known = {TENCH: "tench", "n02123159": "tiger cat", SNAKE: "sea snake"}
    assert {wnid: names[wnid] for wnid in known} == known


def test_columns_match_by_number_id_name_or_number_as_text() -> None:
    classes = (5, "281", "Tiger_Cat", "n02123159")
    result = columns_of(classes, labels.imagenet(), 1000)
    assert result.found == {5: 5, "281": 281, "Tiger_Cat": 282, "n02123159": 282}
    assert (result.unknown, result.remarks) == ((), ())


def test_a_name_takes_precedence_over_the_number_it_spells() -> None:
    assert columns_of(("1",), ("2", "0", "1"), 3).found == {"1": 2}


def test_unknown_classes_are_remarked_with_the_nearest_name() -> None:
    result = columns_of(("tabby_cta", "dog", 7, -1), ("tabby cat", "dog"), 2)
    assert result.found == {"dog": 1}
    assert result.unknown == ("tabby_cta", 7, -1)
    (remark,) = result.remarks
    assert remark.startswith("3 of 4 classes")
    assert "Did you mean 'tabby cat'?" in remark


def test_an_ambiguous_name_matches_no_column() -> None:
    result = columns_of(("crane",), ("crane", "Crane"), 2)
    assert result.unknown == ("crane",)
    assert "Several" in result.remarks[0]


def test_a_wordnet_id_matches_no_column_of_a_ten_class_model() -> None:
    assert columns_of((TENCH,), None, 10).unknown == (TENCH,)


def test_without_names_sorted_classes_are_matched_by_count() -> None:
    result = columns_of(("bee", "ant"), None, 2)
    assert result.found == {"ant": 0, "bee": 1}
    assert "sorted" in result.remarks[0]
    assert columns_of(("bee", "ant"), None, 3).found == {}


def test_numbers_that_sort_differently_as_text_get_a_remark() -> None:
    result = columns_of(("0", "1", "10", "2"), None, 11)
    assert result.found["10"] == 10
    assert len(result.remarks) == 1
    assert columns_of(("0", "1", "2"), None, 11).remarks == ()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_file_of_its_name(name: str) -> None:
    assert find_format(name).name == name
