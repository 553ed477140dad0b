"""Runs: edge cases."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import scorecam
from scorecam.datasets.opening import open_dataset
from scorecam.errors import MissingExtra
from scorecam.methods.method import Case, Method
from scorecam.model.engine import Speed
from scorecam.runs import evaluate, start
from scorecam.runs import summary as results
from scorecam.runs.layout import Layout
from scorecam.runs.setup import Setup
from scorecam.testing import Spy
from small_runs import NAMES, network, opened, photos, records, run

pytestmark = pytest.mark.needs("eval")
RED, WHITE = (255, 0, 0), (255, 255, 255)


def contents(out: Path) -> dict[str, Any]:
    """Everything in a run folder, except times and remarks of a single run."""
    result: dict[str, Any] = {}
    for file in sorted(path for path in out.rglob("*") if path.is_file()):
        result[str(file.relative_to(out))] = file.read_bytes()
        if file.suffix == ".safetensors":
            bank = scorecam.ScoreBank.load(file)
            result[str(file.relative_to(out))] = bank.heatmap().numpy().tobytes()
        if file.suffix == ".json":
            document = json.loads(file.read_text("utf-8"))
            for key in ("timings", "remarks"):
                document.pop(key, None)
            result[str(file.relative_to(out))] = document
    return result


class Fussy(nn.Module):
    """Raises an error for a white photo."""

    def __init__(self) -> None:
        super().__init__()
        self.regions = network()

    def forward(self, images: Tensor) -> Tensor:
        if any(float(image.min()) > 0.99 for image in images):
            raise RuntimeError("overflow in quantize")
        return self.regions(images)


class Standardising(nn.Module):
    """Divides by the image's own deviation: an empty image is 0 / 0."""

    def __init__(self) -> None:
        super().__init__()
        self.regions = network()

    def forward(self, images: Tensor) -> Tensor:
        return self.regions(images) / images.flatten(1).std(1, keepdim=True)


class Absent(Method):
    """A method with a missing library."""

    name, settings, source = "absent", {}, "nobody"

    def heatmap(self, case: Case) -> Tensor:  # noqa: ARG002
        raise MissingExtra("This needs absent.", do="pip install 'scorecam[eval]'")


class Notanumber(Method):
    """A method that returns a NaN map."""

    name, settings, source = "nan", {}, "nobody"

    def heatmap(self, case: Case) -> Tensor:
        return torch.full(case.image.shape[1:], torch.nan)


@pytest.mark.parametrize("name", ["000.png", "zzz.png"])
def test_a_network_failing_on_one_photo_is_measured_on_others(
    name: str, folder: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (8, 8), WHITE).save(folder / "blue" / name)
    summary = run(folder, tmp_path / "run", "centre", metrics="energy", model=opened(Fussy()))
    assert summary.failures == {"ModelError": 1}
    assert summary.done == summary.photos


@pytest.mark.parametrize("methods", ["centre", "scorecam"])
def test_nonfinite_scores_are_undefined(methods: str, folder: Path, tmp_path: Path) -> None:
    summary = run(folder, tmp_path / "run", methods, metrics="paper", model=opened(Standardising()))
    assert summary.mean(methods, "deletion").n == 0
    json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"), parse_constant=pytest.fail)


def test_a_nan_map_is_recorded_as_a_result(folder: Path, tmp_path: Path) -> None:
    summary = scorecam.evaluate(
        opened(), folder, [Notanumber()], "paper", out=tmp_path / "run", runtime="eager"
    )
    assert summary.done == 6


def test_a_missing_library_ends_the_run_at_once(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingExtra):
        scorecam.evaluate(
            opened(), folder, [Absent()], "energy", out=tmp_path / "run", runtime="eager"
        )
    assert records(tmp_path / "run") == []


def test_missing_pyarrow_is_reported_before_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match="pyarrow"):
        run(folder, tmp_path / "run")
    assert not (tmp_path / "run" / "items").exists()


def test_missing_scipy_is_reported_before_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingExtra, match="scipy"):
        run(folder, tmp_path / "run")
    assert not (tmp_path / "run" / "items").exists()


def test_leftovers_are_removed_but_the_users_files_stay(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(folder, out, "centre")
    record = next((out / "items").rglob("*.json"))
    left = record.with_name(f".{record.stem}-abcd1234")
    fresh = record.with_name(f".{record.stem}-wxyz9876")
    mine = [out / ".gitignore", out / ".git" / ".config"]
    mine[1].parent.mkdir()
    for file in (left, fresh, *mine):
        file.touch()
    for file in (left, *mine):
        os.utime(file, (time.time() - 7200,) * 2)
    run(folder, out, "centre")
    assert not left.exists()
    assert fresh.exists()
    assert [file for file in mine if not file.exists()] == []


def test_a_shard_ending_while_another_writes_is_not_lost(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(folder, tmp_path / "one")
    write, others = results._write_summary, [(2, 2)]

    def meanwhile(*args: Any) -> None:
        while others:
            run(folder, tmp_path / "parts", shard=others.pop())
        write(*args)

    monkeypatch.setattr(results, "_write_summary", meanwhile)
    run(folder, tmp_path / "parts", shard=(1, 2))
    one, parts = contents(tmp_path / "one"), contents(tmp_path / "parts")
    assert [name for name in one | parts if one.get(name) != parts.get(name)] == []


def test_shards_starting_together_use_the_first_recorded_runtime(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: set[str] = set()
    true_work = evaluate.explain_photo

    def spied(sample: Any, setup: Setup, *rest: Any) -> Any:
        used.add(setup.settings.runtime)
        return true_work(sample, setup, *rest)

    def slowly(*_: Any) -> Speed:
        monkeypatch.setattr(start, "chosen_speed", lambda *_: Speed("eager"))
        run(folder, tmp_path / "run", runtime="auto", shard=(2, 2))
        return Speed("openvino")

    monkeypatch.setattr(evaluate, "explain_photo", spied)
    monkeypatch.setattr(start, "chosen_speed", slowly)
    run(folder, tmp_path / "run", runtime="auto", shard=(1, 2))
    assert used == {"eager"}


def test_a_run_of_only_unreadable_photos_can_be_retried(folder: Path, tmp_path: Path) -> None:
    whole = {file: file.read_bytes() for file in folder.rglob("*.png")}
    for file in whole:
        file.write_bytes(b"")
    assert run(folder, tmp_path / "run", "centre").failures == {"PhotoError": 6}
    for file, pixels in whole.items():
        file.write_bytes(pixels)
    assert run(folder, tmp_path / "run", "centre", retry=True).failures == {}


def test_the_same_photos_elsewhere_are_the_same_run(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run", "centre")
    run(photos(tmp_path / "moved", 6), tmp_path / "run", "centre")


def test_run_json_that_cannot_be_opened_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "run.json").mkdir(parents=True)
    with pytest.raises(scorecam.RunError):
        run(folder, tmp_path / "run", "centre")


def test_a_kill_never_loses_a_bank(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Die before each rename in turn, resume, and compare with an undisturbed run."""

    class Killed(BaseException):
        pass

    true, methods = Path.replace, "scorecam,centre"
    run(folder, tmp_path / "whole", methods, banks=True, metrics="energy")
    whole = contents(tmp_path / "whole")
    lost: dict[int, list[str]] = {}
    for moment in range(14):
        count = [0]

        def dying(self: Path, target: Any, count: list[int] = count, moment: int = moment) -> Any:
            count[0] += 1
            if count[0] == moment + 1:
                raise Killed
            return true(self, target)

        out = tmp_path / f"run{moment}"
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", dying)
            with pytest.raises(Killed):
                run(folder, out, methods, banks=True, metrics="energy")
        run(folder, out, methods, banks=True, metrics="energy")
        now = contents(out)
        if bad := [name for name in whole | now if whole.get(name) != now.get(name)]:
            lost[moment] = bad
    assert lost == {}, "\n".join(f"{k}: {v}" for k, v in lost.items())


def test_a_damaged_record_gets_a_remark(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run", "centre")
    next((tmp_path / "run" / "items").rglob("*.json")).write_text("{", "utf-8")
    assert run(folder, tmp_path / "run", "centre").remarks


def test_progress_after_a_resume_ends_at_the_total(folder: Path, tmp_path: Path) -> None:
    """The last photo was finished before; progress must still end at the total."""
    run(folder, tmp_path / "run", "centre")
    dataset = open_dataset(folder)
    reports: list[Any] = []
    for sample in dataset.samples[:2]:
        Layout(tmp_path / "run").item("centre", sample.id).unlink()
    run(folder, tmp_path / "run", "centre", progress=reports.append)
    assert reports[-1].done == reports[-1].total
    assert reports[-1].left == 0


def test_undefined_cases_are_counted_in_each_group(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8), RED).save(tmp_path / name)
    (tmp_path / "list.csv").write_text(
        "path,label,x1,y1,x2,y2\na.png,red,0,0,2,2\nb.png,red,0,0,8,8\n", "utf-8"
    )
    summary = run(tmp_path / "list.csv", tmp_path / "run", "centre", metrics="iou")
    counted = {row.group: row.undefined for row in summary.rows}
    assert counted == {"all": 2, "small": 1, "large": 1}


def test_boxes_of_nonsquare_photos_are_mapped_correctly(tmp_path: Path) -> None:
    Image.new("RGB", (24, 36), RED).save(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text("path,label,x1,y1,x2,y2\na.png,red,6,9,18,18\n", "utf-8")
    summary = run(tmp_path / "list.csv", tmp_path / "run", "uniform", metrics="energy")
    assert summary.mean("uniform", "chance_box").mean == pytest.approx(1 / 8)
    assert records(tmp_path / "run")[0]["share"] == pytest.approx(1 / 8)


def test_the_users_model_and_random_state_are_unchanged(folder: Path, tmp_path: Path) -> None:
    net = network().train()
    model = scorecam.open_model(Spy(net), preprocess=opened().preprocess, labels=NAMES)
    before = torch.random.get_rng_state().clone()
    run(folder, tmp_path / "run", "scorecam,random,gradcam", model=model)
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert torch.equal(before, torch.random.get_rng_state())
