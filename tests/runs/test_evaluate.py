"""Runs: model passes, written files, and refused input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import scorecam
from scorecam import DatasetError, PhotoError, RunError, SettingError
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset, Sample, Thing
from scorecam.metrics.faithfulness import Recognition
from scorecam.metrics.statistics import Interval
from scorecam.runs.record import parse_item
from scorecam.runs.store import Store
from scorecam.testing import Regions, Spy
from small_runs import (
    NAMES,
    SIDE,
    network,
    opened,
    photos,
    preprocess,
    records,
    run,
    with_truth,
)

pytestmark = pytest.mark.needs("eval")


# ── files ────────────────────────────────────────────────────────────────────────────────────


def test_a_run_writes_the_documented_files(folder: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    out = tmp_path / "run"
    summary = run(with_truth(folder), out, metrics="paper")
    assert {path.name for path in out.iterdir()} >= {
        "run.json", "items", "maps", "results.parquet", "summary.json", "table.md",
    }  # fmt: skip
    assert len(records(out)) == 12
    rows = pq.read_table(out / "results.parquet").to_pylist()
    by_hand = {(row["method"], row["metric"]): [] for row in rows}
    for row in rows:
        by_hand[row["method"], row["metric"]].append(row["value"])
    for (method, metric), values in by_hand.items():
        known = [value for value in values if value is not None]
        assert len(values) == 6
        assert summary.mean(method, metric).mean == pytest.approx(np.mean(known))
    assert not any("seconds" in str(name) for name in rows[0])
    document = json.loads((out / "summary.json").read_text("utf-8"))
    assert document["schema"] == 1
    assert document["done"] == document["photos"] == 6
    assert "scorecam" in (out / "table.md").read_text("utf-8")


def test_records_contain_targets_and_metrics(folder: Path, tmp_path: Path) -> None:
    run(with_truth(folder), tmp_path / "run")
    for record in records(tmp_path / "run"):
        assert record["target"]["name"] == record["label"]
        assert 0 < record["target"]["probability"] <= 1
        assert record["share"] == 0.25
        assert record["group"] == "large"
        assert set(record["values"]) >= {"average_increase", "energy_box", "energy_mask"}
        assert record["values"]["chance_box"] == 0.25
        grid = np.load(next((tmp_path / "run").glob(f"maps/*/*/{record['id']}.npy")))
        assert grid.shape == tuple(record["map"]["grid"]) == (SIDE, SIDE)
        assert grid.dtype == np.float16
        assert float(np.abs(grid).max()) == 1
        assert record["timings"]["seconds"] > 0


def test_a_map_inside_the_object_has_full_energy(folder: Path, tmp_path: Path) -> None:
    """The class of each photo is its bright corner; the network sees nothing else."""
    summary = run(with_truth(folder), tmp_path / "run", "scorecam:variant=increase,uniform")
    energy = summary.mean("scorecam:variant=increase", "energy_mask").mean
    assert energy > 1.15 * summary.mean("uniform", "energy_mask").mean
    assert summary.mean("uniform", "energy_mask").mean == pytest.approx(0.25)


def test_differences_are_relative_to_the_first_method(folder: Path, tmp_path: Path) -> None:
    summary = run(with_truth(folder), tmp_path / "run", "uniform,scorecam")
    gaps = {row.outcome: row for row in summary.rows if row.against}
    for outcome, row in gaps.items():
        assert (row.method, row.against) == ("scorecam", "uniform")
        assert row.found.mean == pytest.approx(
            summary.mean("scorecam", outcome).mean - summary.mean("uniform", outcome).mean, abs=1e-9
        )
    assert "chance_box" not in gaps


def test_results_are_split_by_object_size(folder: Path, tmp_path: Path) -> None:
    dataset = with_truth(folder)
    small = [
        Sample(s.name, s.path, s.label, (Thing(s.label, (0, 0, 2, 2)),)) if n % 2 else s
        for n, s in enumerate(dataset.samples)
    ]
    mixed = Dataset(dataset.root, dataset.kind, tuple(small), dataset.classes)
    summary = run(mixed, tmp_path / "run")
    counts = [
        summary.mean("scorecam", "energy_box", group).n for group in ("all", "small", "large")
    ]
    assert counts == [6, 3, 3]


def test_banks_are_kept_on_request(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run", banks=True)
    kept = sorted((tmp_path / "run").glob("banks/*/*.safetensors"))
    assert len(kept) == 6
    assert scorecam.ScoreBank.load(kept[0]).heatmap().any()


# ── model passes ─────────────────────────────────────────────────────────────────────────────


def test_variants_of_a_photo_share_passes(folder: Path, tmp_path: Path) -> None:
    def images(methods: str) -> int:
        spy = Spy(network())
        model = scorecam.open_model(spy, preprocess=preprocess(), labels=NAMES)
        name = methods.replace(",", "-").replace(":", "-")
        run(folder, tmp_path / name, methods, model=model, metrics="pointing")
        return len(spy.images)

    one = images("scorecam")
    assert images("scorecam,scorecam:variant=algorithm1,scorecam:variant=consensus") == one
    assert images("uniform") < one


def test_no_image_is_scored_twice(folder: Path, tmp_path: Path) -> None:
    spy = Spy(network())
    model = scorecam.open_model(spy, preprocess=preprocess(), labels=NAMES)
    first = run(folder, tmp_path / "run", model=model)
    before = len(spy.images)
    again = run(folder, tmp_path / "run", model=model)
    assert len(spy.images) - before < 12  # the first photo, to verify the model
    assert again.rows == first.rows


def test_with_a_reduced_budget_each_variant_selects_its_masks(folder: Path, tmp_path: Path) -> None:
    wide = nn.Sequential()
    wide.add_module("maps", nn.Sequential(nn.Conv2d(3, 40, 3, padding=1), nn.ReLU()))
    wide.add_module("pool", nn.AdaptiveAvgPool2d(1))
    wide.add_module("flat", nn.Flatten())
    wide.add_module("classes", nn.Linear(40, 3))
    model = opened(wide)
    methods = "scorecam,scorecam:variant=consensus"
    run(folder, tmp_path / "both", methods, model=model, budget=12)
    run(folder, tmp_path / "alone", "scorecam:variant=consensus", model=model, budget=12)

    def maps(out: Path) -> list[bytes]:
        return [path.read_bytes() for path in sorted(out.glob("maps/*consensus*/*/*.npy"))]

    assert maps(tmp_path / "both") == maps(tmp_path / "alone")


def test_progress_counts_photos(folder: Path, tmp_path: Path) -> None:
    reports: list[Any] = []
    run(folder, tmp_path / "run", progress=reports.append)
    assert [(report.done, report.total, report.fresh) for report in reports] == [
        (n, 6, n) for n in range(1, 7)
    ]
    assert reports[-1].left == 0
    assert all(report.failed == 0 for report in reports)


def test_the_predicted_class_can_be_explained_instead(folder: Path, tmp_path: Path) -> None:
    upside_down = opened(Regions(-0.1 * torch.eye(3)))
    run(folder, tmp_path / "label", model=upside_down)
    run(folder, tmp_path / "predicted", model=upside_down, target="predicted")
    assert all(r["target"]["name"] == r["label"] for r in records(tmp_path / "label"))
    assert all(r["target"]["name"] != r["label"] for r in records(tmp_path / "predicted"))
    for record in records(tmp_path / "predicted"):
        assert record["target"] == record["predicted"]


def test_objects_of_another_class_do_not_count_for_a_map(folder: Path, tmp_path: Path) -> None:
    upside_down = opened(Regions(-0.1 * torch.eye(3)))
    summary = run(with_truth(folder), tmp_path / "run", model=upside_down, target="predicted")
    assert summary.mean("scorecam", "energy_box").n == 0
    record = records(tmp_path / "run")[0]
    assert "not the labelled one" in record["undefined"]["energy_box"]


# ── failures ─────────────────────────────────────────────────────────────────────────────────


def test_without_labels_other_metrics_are_measured(tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(photos(tmp_path / "photos", 6).rglob("*.png"))):
        path.rename(flat / f"{number}.png")
    summary = run(flat, tmp_path / "run")
    assert summary.mean("scorecam", "average_increase").n == 6
    assert summary.mean("scorecam", "energy_box").n == 0
    [row] = [
        row
        for row in summary.rows
        if (row.method, row.outcome, row.against) == ("scorecam", "energy_box", None)
    ]
    assert row.undefined == 6


def test_unknown_classes_get_a_remark_and_the_prediction_is_used(tmp_path: Path) -> None:
    place = photos(tmp_path / "photos", 3)
    (place / "red").rename(place / "crimson")
    summary = run(place, tmp_path / "run")
    assert any("crimson" in remark for remark in summary.remarks)
    named = {record["label"]: record for record in records(tmp_path / "run")}
    assert named["crimson"]["target"] == named["crimson"]["predicted"]
    assert named["crimson"]["right"] is None
    assert named["green"]["right"] is True


def test_a_corrupt_photo_and_a_bad_annotation_are_results(folder: Path, tmp_path: Path) -> None:
    (folder / "red" / "000.png").write_bytes(b"no photo")
    dataset = open_dataset(folder)
    bad = DatasetError("Its annotation is damaged.")
    samples = [
        Sample(s.name, s.path, s.label, failure=bad) if s.name.endswith("001.png") else s
        for s in dataset.samples
    ]
    broken = Dataset(dataset.root, dataset.kind, tuple(samples), dataset.classes)
    summary = run(broken, tmp_path / "run")
    assert summary.failures == {"DatasetError": 1, "PhotoError": 1}
    assert summary.done == 6
    assert summary.mean("scorecam", "average_increase").n == 4
    messages = [r["failure"]["message"] for r in records(tmp_path / "run") if "failure" in r]
    assert len(messages) == 4
    assert any("damaged" in message for message in messages)


def test_failures_are_kept_unless_retried(folder: Path, tmp_path: Path) -> None:
    photo = folder / "red" / "000.png"
    content = photo.read_bytes()
    photo.write_bytes(b"no photo")
    assert run(folder, tmp_path / "run").failures == {"PhotoError": 1}
    photo.write_bytes(content)
    assert run(folder, tmp_path / "run").failures == {"PhotoError": 1}
    assert run(folder, tmp_path / "run", retry=True).failures == {}


def test_an_inapplicable_method_fails_alone(folder: Path, tmp_path: Path) -> None:
    summary = run(folder, tmp_path / "run", "scorecam,guided")  # it has no ReLU to guide
    assert summary.mean("scorecam", "average_increase").n == 6
    assert summary.mean("guided", "average_increase").n == 0
    assert summary.failures == {}  # every photo has a result
    assert [record["failure"]["kind"] for record in summary.failed] == ["SettingError"] * 6


NESTED = "[" * 100_000
"""Brackets nested too deep for any reader."""


@pytest.mark.parametrize(
    "text", ["", "{", '{"schema": 1, "method": "random"}', "[1]", "null", NESTED]
)
def test_a_damaged_record_is_recomputed(text: str, folder: Path, tmp_path: Path) -> None:
    first = run(folder, tmp_path / "run")
    record = next((tmp_path / "run").glob("items/random/*/*.json"))
    record.write_text(text, "utf-8")
    again = run(folder, tmp_path / "run")
    assert again.rows == first.rows
    assert json.loads(record.read_text("utf-8"))["values"]


OTHERS: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "another model": (
        lambda: {"model": opened(Regions(0.2 * torch.eye(3)))},
        "weights sha256",
    ),
    "another budget": (lambda: {"budget": 2}, "budget: exact there, 2 now"),
    "another target": (lambda: {"target": "predicted"}, "target"),
    "other methods": (lambda: {"methods": "scorecam"}, "methods: scorecam, random there"),
    "other metrics": (lambda: {"metrics": "paper"}, "metrics"),
    "another seed": (lambda: {"seed": 1}, "seed: 0 there, 1 now"),
    "another fill": (lambda: {"masking": scorecam.Masking(fill=0.5)}, "masking"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_runs_folder_is_refused_with_the_difference(
    name: str, folder: Path, tmp_path: Path
) -> None:
    run(folder, tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    changes, phrase = OTHERS[name]
    with pytest.raises(RunError, match="holds another run") as refused:
        run(folder, tmp_path / "run", **changes())
    assert phrase in str(refused.value)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_annotations_are_part_of_the_run(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run")
    with pytest.raises(RunError, match="dataset"):
        run(with_truth(folder), tmp_path / "run")


def test_another_class_order_is_another_run(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run")
    turned = scorecam.open_model(network(), preprocess=preprocess(), labels=NAMES[::-1])
    with pytest.raises(RunError, match="columns"):
        run(folder, tmp_path / "run", model=turned)


def test_other_metric_settings_are_another_run(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run", metrics=[Recognition()])
    with pytest.raises(RunError, match=r"muted.* 0\.5.* there.* 0\.3"):
        run(folder, tmp_path / "run", metrics=[Recognition(muted=0.3)])


def test_records_without_a_run_are_not_adopted(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run")
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(RunError, match=r"no run\.json"):
        run(folder, tmp_path / "run")


def test_masked_pixels_can_be_black_in_metrics(folder: Path, tmp_path: Path) -> None:
    spy = Spy(network())
    model = scorecam.open_model(spy, preprocess=preprocess(), labels=NAMES)
    run(folder, tmp_path / "mean", "uniform", model=model, metrics="deletion")
    assert not any(bool((image == -1).all()) for image in spy.images)
    run(folder, tmp_path / "black", "uniform", model=model, metrics="deletion", fill="black")
    assert any(bool((image == -1).all()) for image in spy.images)


def test_settings_that_fit_no_photo_are_refused_at_once(folder: Path, tmp_path: Path) -> None:
    for changes in (
        {"batch_size": 0},
        {"masking": scorecam.Masking(fill=(0.1, 0.2))},
        {"methods": []},
        {"metrics": []},
        {"metrics": [Recognition(), Recognition(muted=0.3)]},
        {"fill": "white"},
    ):
        with pytest.raises(SettingError):
            run(folder, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_other_photos_are_another_run(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run")
    photos(folder, 7)
    with pytest.raises(RunError, match="dataset"):
        run(folder, tmp_path / "run")


def test_other_versions_only_get_a_remark(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    config = json.loads(file.read_text("utf-8"))
    config["versions"]["torch"] = "1.0"
    file.write_text(json.dumps(config), "utf-8")
    summary = run(folder, tmp_path / "run")
    assert any("other versions" in remark for remark in summary.remarks)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("", "cannot be read"),
        (NESTED, "cannot be read"),
        ("{}", "schema"),
        ('{"schema": 99}', "schema 99"),
        ("[]", "schema"),
    ],
)
def test_a_damaged_or_newer_run_is_refused(
    text: str, phrase: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(text, "utf-8")
    with pytest.raises(RunError, match=phrase):
        run(folder, tmp_path / "run")


def test_a_file_instead_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("something", "utf-8")
    with pytest.raises(RunError, match="is a file"):
        run(folder, tmp_path / "run")


def test_invalid_settings_are_refused_before_anything_is_written(
    folder: Path, tmp_path: Path
) -> None:
    for changes in (
        {"target": "lable"},
        {"budget": "quick"},
        {"tolerance": 3.0},
        {"runtime": "warp"},
        {"methods": "scorecan"},
        {"metrics": "papre"},
        {"shard": (3, 2)},
    ):
        with pytest.raises(SettingError):
            run(folder, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_model_without_preprocessing_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="preprocess"):
        run(folder, tmp_path / "run", model=scorecam.open_model(network()))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError):
        run(tmp_path / "empty", tmp_path / "run")


def test_duplicate_sample_names_are_refused(folder: Path, tmp_path: Path) -> None:
    dataset = open_dataset(folder)
    twice = Dataset(
        dataset.root, dataset.kind, (*dataset.samples, dataset.samples[0]), dataset.classes
    )
    with pytest.raises(DatasetError, match="same name"):
        run(twice, tmp_path / "run")


class Blinded(nn.Module):
    """Returns NaN for mostly empty images."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        empty = (images == 0).float().mean(dim=(1, 2, 3)) > 0.4
        return self.network(images).masked_fill(empty[:, None], math.nan)


def test_nonfinite_scores_make_a_metric_undefined(folder: Path, tmp_path: Path) -> None:
    model = scorecam.open_model(Blinded(), preprocess=preprocess(), labels=NAMES, head="logits")
    summary = run(folder, tmp_path / "run", "random", model=model, metrics="paper")
    assert summary.failures == {}
    assert summary.mean("random", "deletion").n == 0
    for record in records(tmp_path / "run"):
        assert "not finite" in record["undefined"]["deletion"]
        assert not record["curves"]


def test_if_no_photo_is_readable_all_are_failures(tmp_path: Path) -> None:
    place = photos(tmp_path / "photos", 2)
    for path in place.rglob("*.png"):
        path.write_bytes(b"no photo")
    summary = run(place, tmp_path / "run")
    assert summary.failures == {"PhotoError": 2}
    assert summary.mean("scorecam", "average_increase").n == 0


# ── the recorded runtime ─────────────────────────────────────────────────────────────────────


def test_the_runtime_is_decided_once_and_recorded(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run", runtime="auto")
    config = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert config["runtime"] == "auto"
    assert config["runtime used"] in {"eager", "openvino"}
    config["runtime used"] = "compile"  # as if another machine had decided
    (tmp_path / "run" / "run.json").write_text(json.dumps(config), "utf-8")
    summary = run(folder, tmp_path / "run", runtime="auto")
    assert "compile" in summary.table


# ── names ────────────────────────────────────────────────────────────────────────────────────


def test_each_method_has_its_own_folder(tmp_path: Path) -> None:
    names = ["gradcam", "gradcam++", "Gradcam", "a:b=1", "a/b=1", "a:b=1 ", "x" * 200, "x" * 201]
    store = Store(tmp_path, names, parse_item)
    folders = {str(store.layout.item(name, "ab" * 8).parent.parent).casefold() for name in names}
    assert len(folders) == len(names)
    assert all(len(Path(folder).name) < 100 for folder in folders)
    assert all(Path(folder).parent == tmp_path / "items" for folder in map(Path, folders))


def test_unusual_names_of_photos_and_classes_are_kept(tmp_path: Path) -> None:
    place = tmp_path / "photos" / "a | b <i>"
    place.mkdir(parents=True)
    Image.new("RGB", (8, 8), "red").save(place / "café 😀.png")
    run(tmp_path / "photos", tmp_path / "run", "random")
    [record] = records(tmp_path / "run")
    assert record["name"] == "a | b <i>/café 😀.png"


# ── plots ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.needs("plot")
def test_plots_are_not_blank(folder: Path, tmp_path: Path) -> None:
    run(with_truth(folder), tmp_path / "run", "scorecam,random,uniform", metrics="paper")
    for name in ("curves.png", "drop-increase.png", "differences.png"):
        with Image.open(tmp_path / "run" / name) as picture:
            assert picture.width > 600
            assert len(picture.convert("RGB").getcolors(2**20) or range(999)) > 20


def test_without_matplotlib_the_run_has_a_remark(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    summary = run(folder, tmp_path / "run")
    assert any("scorecam[plot]" in remark for remark in summary.remarks)
    assert (tmp_path / "run" / "table.md").exists()


def test_one_photo_has_a_table_but_no_intervals(tmp_path: Path) -> None:
    summary = run(photos(tmp_path / "photos", 1), tmp_path / "run", metrics="paper")
    result = summary.mean("scorecam", "average_increase")
    assert result.n == 1
    assert math.isnan(result.low)
    assert summary.mean("scorecam", "nothing") == pytest.approx(
        Interval(math.nan, math.nan, math.nan, 0), nan_ok=True
    )
    assert "nan" not in summary.table
