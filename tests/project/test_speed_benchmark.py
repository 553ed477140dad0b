"""The speed benchmark measures what its tables name."""

from __future__ import annotations

import time

import pytest
import torch

from benchmarks.speed import profile
from benchmarks.speed.figures import quotient, summarised
from benchmarks.speed.rows import FAST, ROWS, Json
from benchmarks.speed.subjects import opened
from benchmarks.speed.targets import Part, Target, first_lines, table, targets
from benchmarks.speed.timing import CHOICE, PASSES, Timers, places
from scorecam import explain
from scorecam.scoring import score


def test_every_function_that_the_profile_measures_exists() -> None:
    for names in profile.STAGES.values():
        for name in names:
            assert places(name), name


def test_a_renamed_function_is_reported_by_name() -> None:
    with pytest.raises(LookupError, match=r"scorecam[.]cam:gone"):
        places("scorecam.cam:gone")


def test_functions_are_measured_in_a_context_and_put_back_after_it() -> None:
    model = opened("tiny", "cpu")
    image = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
    before = score.prepare, type(model).engine
    timers = Timers()

    with timers.patched(model, profile.STAGES):
        began = time.perf_counter()
        explanation = explain(model, image, **FAST)
        _ = explanation.heatmap
        total = time.perf_counter() - began

    assert (score.prepare, type(model).engine) == before
    for stage in ("unmasked pass", CHOICE, "masks", PASSES, "choosing", "predicting", "error"):
        assert timers.seconds[stage] > 0, stage
    assert sum(timers.seconds.values()) <= total
    # All but the first unmasked pass and those of the choice go through the engine.
    through = sum(images for images, _ in timers.batches)
    assert len(explanation.bank.asked) < through <= explanation.provenance.forward_passes


def test_time_in_an_inner_stage_is_not_counted_twice() -> None:
    timers = Timers()
    with timers.measuring("outer"), timers.measuring("inner"):
        time.sleep(0.05)

    assert timers.seconds["inner"] >= 0.05
    assert timers.seconds["outer"] < 0.01


def report(**rows: list[Json]) -> Json:
    """Raw runs of one network, as measure.py writes them."""
    entry = {"runs": rows, "failures": [], "references": []}
    machine = {"processor": "processor", "threads": 2}
    return summarised({"networks": {"lite0": entry}, "machine": machine})


def seconds(*values: float) -> list[Json]:
    """One run per value."""
    return [{"round": turn, "seconds": value} for turn, value in enumerate(values)]


def test_a_ratio_divides_medians_and_its_range_is_the_widest() -> None:
    assert quotient([40, 50, 60], [1, 2, 4]) == {"median": 25, "min": 10, "max": 60}


def test_the_targets_tell_a_reached_bar_from_a_missed_one() -> None:
    speed = report(torchcam=seconds(40, 40), fast16=seconds(0.05), **{"fast-cached": seconds(1)})

    lines = {each.what: each for each in targets(speed, {}, {})}
    many = lines["`fast`, auto, 16 photos in one call, over torchcam"]
    one = lines["`fast`, one photo, new process, cache warm, over torchcam"]

    assert many.verdict == "reached"
    assert "800×" in str(many.parts[0])
    assert one.verdict == "**not reached**"
    assert str(one.parts[0]) == "**geometric mean: 40×**"
    assert sum(each.verdict == "not measured" for each in lines.values()) > 5


def test_the_warm_loop_is_compared_with_grad_cam_photo_by_photo() -> None:
    photos = [
        {"photo": 0, "ours": 0.3, "gradcam": 0.1, "passes": 0.27, "count": 50},
        {"photo": 1, "ours": 0.5, "gradcam": 0.1, "passes": 0.40, "count": 60},
        {"photo": 2, "ours": 0.2, "gradcam": 0.2, "passes": 0.17, "count": 40},
    ]
    warm = {"round": 0, "seconds": 0.3, "settling": [2.0, 0.4], "each": photos}
    row = report(warm=[warm])["networks"]["lite0"]["rows"]["warm"]

    assert row["over_gradcam"]["median"] == pytest.approx(3)
    assert row["outside"]["median"] == pytest.approx(0.15)
    assert row["settling"] == 2.0
    assert "0.3 s (lite0) per photo in a warm process" in next(first_lines(report(warm=[warm])))


def test_a_missed_part_is_bold_in_the_table_of_targets() -> None:
    parts = (Part("lite0", "5×", held=False), Part("vgg16", "1×", held=True), Part("dinov2", "2×"))
    [_, line] = table(iter([Target("fast", "≤ 4×", parts, "script")]))

    assert line == (
        "| fast | **lite0: 5×**; vgg16: 1×; dinov2: 2× | ≤ 4× | **not reached in 1** | `script` |"
    )


def test_every_row_that_repeats_another_is_measured_in_its_rounds() -> None:
    for row in ROWS.values():
        if row.of:
            assert row.rounds <= ROWS[row.of].rounds


def test_an_engine_with_measured_passes_gives_the_same_scores() -> None:
    model = opened("tiny", "cpu")
    image = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(1))
    plain = explain(model, image, runtime="eager").heatmap
    timers = Timers()
    with timers.patched(model):
        timed = explain(model, image, runtime="eager").heatmap

    assert torch.equal(plain, timed)
    assert timers.seconds[PASSES] > 0
