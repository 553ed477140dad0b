"""Runs with a task: the annotated object decides what is explained."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import scorecam
from captioners import START, Reader, ids
from detectors import COLOURS, FORMS, Spots
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset, Sample, Thing
from scorecam.errors import RunError, TargetError
from scorecam.model.model import Model, Task
from scorecam.model.task_columns import TaskColumns
from scorecam.runs.compare.compare import compare
from scorecam.runs.sanity.sanity import sanity
from scorecam.runs.summary import Summary
from scorecam.runs.verify.verify import verify
from scorecam.tasks import Detect, Tokens
from spot_photos import ANNOTATED, PHOTOS, blind_to_green, box_of, duller, furnish, spots


@pytest.fixture
def photos(tmp_path: Path) -> Dataset:
    return open_dataset(furnish(tmp_path))


def detector(folder: Path, network: torch.nn.Module | None = None, **task: Any) -> Model:
    return scorecam.open_model(
        spots() if network is None else network,
        preprocess=str(folder / "spots.json"),
        labels=COLOURS,
        task=Detect(**task),
    )


def run(model: Model, photos: Dataset, out: Path, **options: Any) -> Summary:
    options = {"metrics": "localisation", "layer": "maps"} | options
    return scorecam.evaluate(model, photos, out=out, **options)


def records(folder: Path, method: str = "scorecam") -> dict[str, dict[str, Any]]:
    read = [json.loads(file.read_text("utf-8")) for file in (folder / "items").rglob("*.json")]
    return {record["name"]: record for record in read if record["method"] == method}


# ── which box ────────────────────────────────────────────────────────────────────────────────


def test_the_annotated_box_is_explained_not_the_most_probable_one(
    tmp_path: Path, photos: Dataset
) -> None:
    summary = run(detector(tmp_path), photos, tmp_path / "run")

    found = records(tmp_path / "run")
    for name in ("a.png", "b.png", "c.png"):
        [(cell, colour)] = ANNOTATED[name]
        assert tuple(found[name]["box"]) == box_of(cell)
        assert found[name]["target"] == {
            "index": colour,
            "name": COLOURS[colour],
            "probability": None,
        }
        assert found[name]["right"] is True
    assert summary.mean("scorecam", "hit_box").mean == 1.0
    assert summary.mean("scorecam", "energy_box").mean > 0.5  # the interpolation takes the rest


def test_an_object_that_is_not_found_is_undefined_and_counted(
    tmp_path: Path, photos: Dataset
) -> None:
    summary = run(detector(tmp_path), photos, tmp_path / "run")

    assert (summary.not_found, summary.failed, summary.failures) == (1, (), {})
    [row] = [r for r in summary.rows if (r.outcome, r.group) == ("hit_box", "all")]
    assert (row.found.n, row.undefined) == (3, 1)
    record = records(tmp_path / "run")["d.png"]
    assert record["failure"]["kind"] == "ObjectNotFound"
    assert "'blue'" in record["failure"]["message"]
    assert "object was not found: 1" in summary.table
    assert not list((tmp_path / "run" / "maps").rglob(f"{record['id']}*"))
    assert verify(tmp_path / "run").sound


def test_only_the_explained_object_counts_as_the_truth(tmp_path: Path, photos: Dataset) -> None:
    both = [Thing("green", box_of(cell)) for cell in PHOTOS["c.png"]]
    [sample] = [each for each in photos.samples if each.name.endswith("c.png")]
    two = dataclasses.replace(sample, things=tuple(both))

    run(detector(tmp_path), dataclasses.replace(photos, samples=(two,)), tmp_path / "run")

    [record] = records(tmp_path / "run").values()
    assert record["values"]["chance_box"] == pytest.approx(1 / 96)


def test_the_predicted_box_is_measured_if_it_is_annotated(tmp_path: Path, photos: Dataset) -> None:
    run(detector(tmp_path), photos, tmp_path / "run", target="predicted")

    found = records(tmp_path / "run")
    boxes = [tuple(found[name]["box"]) for name in ("a.png", "b.png")]
    assert boxes == [box_of((1, 2)), box_of((5, 3))]
    assert found["a.png"]["undefined"]["hit_box"] == "The explained box is not an annotated object."
    assert found["b.png"]["values"]["hit_box"] == 1.0


def test_without_an_annotation_the_most_probable_box_is_explained(
    tmp_path: Path, photos: Dataset
) -> None:
    run(detector(tmp_path), without_labels(photos), tmp_path / "run")

    record = records(tmp_path / "run")["a.png"]
    assert (tuple(record["box"]), record["right"]) == (box_of((1, 2)), None)
    assert "unknown" in record["undefined"]["hit_box"]


def test_a_class_without_boxes_in_the_annotation_gives_its_best_box(
    tmp_path: Path, photos: Dataset
) -> None:
    samples = tuple(dataclasses.replace(each, things=None) for each in photos.samples)
    run(detector(tmp_path), dataclasses.replace(photos, samples=samples), tmp_path / "run")

    assert tuple(records(tmp_path / "run")["c.png"]["box"]) == box_of((2, 2))


def without_labels(photos: Dataset) -> Dataset:
    samples = tuple(Sample(each.name, each.path) for each in photos.samples)
    return Dataset(photos.root, "folder", samples, ())


# ── the folder of a run ──────────────────────────────────────────────────────────────────────


def test_a_finished_run_is_not_computed_again(tmp_path: Path, photos: Dataset) -> None:
    run(detector(tmp_path), photos, tmp_path / "run")
    before = {file: file.read_bytes() for file in (tmp_path / "run" / "items").rglob("*.json")}
    network, passes = spots(), []
    network.register_forward_hook(lambda *call: passes.append(len(call[1][0])))

    summary = run(detector(tmp_path, network), photos, tmp_path / "run", retry=True)

    assert {file: file.read_bytes() for file in before} == before
    assert summary.done == 4
    assert sum(passes) < 20  # the first photo: its boxes, the layer and the kind of scores


def test_shards_give_the_results_of_the_whole(tmp_path: Path, photos: Dataset) -> None:
    whole = run(detector(tmp_path), photos, tmp_path / "whole")
    for part in (1, 2):
        parts = run(detector(tmp_path), photos, tmp_path / "parts", shard=(part, 2))

    assert parts.rows == whole.rows
    assert parts.not_found == whole.not_found


def test_the_task_and_its_options_are_recorded(tmp_path: Path, photos: Dataset) -> None:
    run(detector(tmp_path, threshold=0.3), photos, tmp_path / "run")

    recorded = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert recorded["task"]["name"] == "detect"
    assert recorded["task"]["threshold"] == 0.3
    with pytest.raises(RunError, match=r"task: .*0\.3.* there, .*0\.4.* now"):
        run(detector(tmp_path, threshold=0.4), photos, tmp_path / "run")


def test_photos_in_which_nothing_is_found_are_refused_together(
    tmp_path: Path, photos: Dataset
) -> None:
    with pytest.raises(TargetError, match="nothing to explain in any photo"):
        run(detector(tmp_path, threshold=0.99), photos, tmp_path / "run")


@pytest.mark.parametrize("edit", [[1, 2, 3], "box", [1, 2, 3, None]])
def test_a_record_with_a_damaged_box_is_made_again(
    tmp_path: Path, photos: Dataset, edit: object
) -> None:
    out = tmp_path / "run"
    run(detector(tmp_path), photos, out)
    [file] = [f for f in (out / "items").rglob("*.json") if '"a.png"' in f.read_text("utf-8")]
    values = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(values | {"box": edit}), "utf-8")

    summary = run(detector(tmp_path), photos, out)

    assert summary.done == 4
    assert records(out)["a.png"]["box"] == values["box"]


def test_every_method_explains_the_same_box(tmp_path: Path, photos: Dataset) -> None:
    methods = "scorecam,rise:masks=30,gradcam"
    run(detector(tmp_path), photos, tmp_path / "run", methods=methods)

    for method in methods.split(","):
        box = records(tmp_path / "run", method)["a.png"]["box"]
        assert tuple(box) == box_of((6, 9))


# ── compare and sanity ───────────────────────────────────────────────────────────────────────

SIDES = {"spots": spots, "duller": duller, "blind": blind_to_green}


def test_photos_without_annotation_compare_the_first_sides_boxes(
    tmp_path: Path, photos: Dataset
) -> None:
    result = compare(
        ["spots", "duller", "blind"],
        without_labels(photos),
        out=tmp_path / "compared",
        opener=lambda spec: detector(tmp_path, SIDES[spec]()),
    )

    close, blind = result.versus
    assert (close.agreement.mean, close.similarity.mean) == (1.0, pytest.approx(1.0, abs=1e-3))
    gone = {photo.name for photo in blind.photos if photo.predicted and photo.predicted[1] is None}
    assert gone == {"c.png"}  # the only photo in which the most probable box is green
    assert not [remark for remark in result.remarks if "annotations" in remark]


def test_randomised_networks_are_explained_for_the_trained_networks_boxes(
    tmp_path: Path, photos: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int]] = []
    found = Detect.columns

    def counted(self: Detect, model: Model, images: Tensor, target: Any) -> TaskColumns:
        columns = found(self, model, images, target)
        calls.append((id(model.task), len(columns.names)))
        return columns

    monkeypatch.setattr(Detect, "columns", counted)
    result = sanity(
        detector(tmp_path), photos, "scorecam,edges", out=tmp_path / "sane", layer="maps"
    )

    assert not result.failures
    assert {number for _, number in calls} == {1, 2}  # never of a randomised network


# ── values ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Brightness(Task):
    """The sum of each colour."""

    name: ClassVar[str] = "regress"

    def columns(self, model: Model, images: Tensor, target: Any) -> TaskColumns:
        del model, images
        names = ("red light", "green light", "blue light")
        column = names.index(target) if isinstance(target, str) else 0
        readout = lambda output: output[:, 4:].sum(-1)  # noqa: E731
        return TaskColumns(readout, names, column=column, task=self.name, unit="lm")


def test_a_value_is_measured_against_the_annotation(tmp_path: Path, photos: Dataset) -> None:
    network = Spots(FORMS["yolo"]).eval()
    model = scorecam.open_model(network, preprocess=str(tmp_path / "spots.json"), task=Brightness())

    summary = run(model, photos, tmp_path / "run")

    record = records(tmp_path / "run")["b.png"]
    assert record["target"]["name"] == "red light"
    assert record["values"]["hit_box"] == 1.0
    assert "box" not in record
    assert summary.not_found == 0


def test_a_label_that_is_the_name_of_a_column_chooses_it(tmp_path: Path, photos: Dataset) -> None:
    samples = tuple(
        dataclasses.replace(each, label="green light", things=None) for each in photos.samples
    )
    labelled = dataclasses.replace(photos, samples=samples, classes=("green light",))
    model = scorecam.open_model(spots(), preprocess=str(tmp_path / "spots.json"), task=Brightness())

    run(model, labelled, tmp_path / "run")

    found = records(tmp_path / "run").values()
    assert {each["target"]["name"] for each in found} == {"green light"}


@dataclass(frozen=True)
class Present(Task):
    """The sum of each colour in the picture, without the colours that are not there."""

    name: ClassVar[str] = "segment"

    def columns(self, model: Model, images: Tensor, target: Any) -> TaskColumns:
        sums = model.output(images)[:, 4:].sum(-1)
        rows = sums[0].nonzero()[:, 0]
        names = tuple(COLOURS[row] for row in rows.tolist())
        if isinstance(target, str) and target not in names:
            raise TargetError(f"There is no {target} in this picture.", do="Choose another colour.")
        column = names.index(target) if isinstance(target, str) else 0
        readout = lambda output: output[:, 4:].sum(-1)[:, rows]  # noqa: E731
        return TaskColumns(readout, names, column=column, task=self.name)


def test_a_class_has_one_index_in_all_photos_whatever_is_found_there(
    tmp_path: Path, photos: Dataset
) -> None:
    model = scorecam.open_model(
        spots(), preprocess=str(tmp_path / "spots.json"), labels=COLOURS, task=Present()
    )

    run(model, photos, tmp_path / "run")

    found = [each["target"] for each in records(tmp_path / "run").values()]
    assert {(each["index"], each["name"]) for each in found} == set(enumerate(COLOURS))


def test_labels_that_are_no_answers_of_the_task_make_no_remark(
    tmp_path: Path, photos: Dataset
) -> None:
    model = scorecam.open_model(spots(), preprocess=str(tmp_path / "spots.json"), task=Brightness())

    summary = run(model, photos, tmp_path / "run")

    assert not [remark for remark in summary.remarks if "not classes of the model" in remark]


def test_an_answer_that_the_first_photo_lacks_has_a_record_that_can_be_read(
    tmp_path: Path, photos: Dataset
) -> None:
    model = scorecam.open_model(spots(), preprocess=str(tmp_path / "spots.json"), task=Present())

    run(model, without_labels(photos), tmp_path / "run")

    assert verify(tmp_path / "run").sound
    target = records(tmp_path / "run")["d.png"]["target"]
    assert target["name"] == "blue"
    assert target["index"] > len(COLOURS)


class Captioner(Reader):
    """Takes a picture alone, and knows which token comes first."""

    generation_config = type("Config", (), {"bos_token_id": START})()


def test_a_task_that_adds_inputs_explains_each_photo_with_its_own(
    tmp_path: Path, photos: Dataset
) -> None:
    unchanged = {"size": [24, 40], "fit": "squash", "mean": [0.0] * 3, "std": [1.0] * 3}
    (tmp_path / "text.json").write_text(json.dumps(unchanged), "utf-8")
    model = scorecam.open_model(
        Captioner([(0, 0), (1, 3)]),
        preprocess=str(tmp_path / "text.json"),
        task=Tokens(answer=ids("cat on")),
    )

    summary = run(model, photos, tmp_path / "run", layer=None)

    assert summary.done == 4
    assert {each["target"]["name"] for each in records(tmp_path / "run").values()} == {"answer"}
    assert [layer.name for layer in scorecam.layers(model) if layer.default] == ["tower"]
