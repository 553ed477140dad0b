"""The benchmark of how the cost grows."""

from __future__ import annotations

import math
from typing import Any

import pytest

import scorecam
from benchmarks.speed import growth, growth_page
from benchmarks.speed.stub import Stub


def test_the_exponent_of_a_square_is_two_without_error() -> None:
    fit = growth.exponent([1, 10, 100, 1000], [3 * size**2 for size in (1, 10, 100, 1000)])

    assert fit["points"] == 2
    assert fit["slope"] is None  # two points have no error
    sizes = [2**power for power in range(8)]
    fit = growth.exponent(sizes, [3.0 * size**2 for size in sizes])
    assert fit["points"] == 4
    assert math.isclose(fit["slope"], 2, abs_tol=1e-9)
    assert fit["error"] < 1e-9


def test_the_exponent_counts_only_the_upper_half_of_the_sizes() -> None:
    sizes = [2**power for power in range(10)]
    times = [max(16.0, size) for size in sizes]  # constant below 16

    assert math.isclose(growth.exponent(sizes, times)["slope"], 1, abs_tol=0.05)


def test_the_standard_error_is_that_of_least_squares() -> None:
    # By hand: x = -1, 0, 1; y = 0, 1, 0; slope 0, residuals ∓1/3, 2/3, squares 2/3 over 1 · 2.
    sizes = [1 / math.e**3, 1 / math.e, 1, math.e]  # the first one is below the middle
    fit = growth.exponent(sizes, [1.0, 1.0, math.e, 1.0])  # type: ignore[arg-type]

    assert fit["points"] == 3
    assert math.isclose(fit["slope"], 0, abs_tol=1e-9)
    assert math.isclose(fit["error"], math.sqrt(2 / 3 / 2))


def test_the_stub_has_a_mask_for_each_channel() -> None:
    image = growth.torch.randn(3, 32, 32)
    explanation = scorecam.explain(Stub(40, 5, 7), image)

    assert len(explanation.bank.live) == 40
    assert explanation.bank.scores.shape == (40, 7)
    assert explanation.provenance.forward_passes == 43


def test_a_series_has_a_time_for_every_size(capsys: pytest.CaptureFixture[str]) -> None:
    series = growth.measured(growth.Case(side=32, columns=5), "masks", (8, 16, 24), growth.seconds)

    assert series.sizes == [8, 16, 24]
    assert series.passes == [11, 19, 27]
    assert min(series.values) > 0
    assert "seconds stub masks exact 24: " in capsys.readouterr().err


def test_sides_are_measured_as_areas() -> None:
    case = growth.Case(masks=4, columns=5)

    assert growth.measured(case, "side", (16, 32), growth.mib).sizes == [256, 1024]


def test_the_memory_of_a_call_is_that_of_its_largest_tensor() -> None:
    def run() -> int:
        growth.torch.ones(64, 2**18)  # 64 MiB
        return 5

    memory, passes = growth.mib(run)

    assert 60 < memory < 80
    assert passes == 5


def test_a_series_gets_its_times_and_its_memory() -> None:
    sizes = [2**power for power in range(8)]
    row = {"axis": "masks", "sizes": sizes}
    times = [{**row, "values": [2.0 * size for size in sizes]}]
    [both] = growth.joined(times, [{**row, "values": [3.0] * 8}])

    assert both["seconds"][-1] == 256
    assert both["mib"] == [3.0] * 8
    assert math.isclose(both["fits"]["seconds"]["slope"], 1)
    assert both["fits"]["mib"]["slope"] == 0


def series(slope: float, **changes: Any) -> dict[str, Any]:
    """A series as it is stored."""
    fit = {"slope": slope, "error": 0.01, "points": 4}
    values = {"axis": "masks", "budget": "fast", "network": "stub", "sizes": [64, 8192]}
    values |= {"seconds": [0.1, 1.0], "mib": [1.0, 2.0], "passes": [1, 1], "fits": {"seconds": fit}}
    return values | changes


def report(*rows: dict[str, Any]) -> dict[str, Any]:
    """The results of a run."""
    where = {"processor": "a processor"}
    return {"machine": where, "date": "today", "note": "It was idle.", "series": list(rows)}


def test_the_page_says_why_an_exponent_is_above_one() -> None:
    page = growth_page.page_of(report(series(1.5)))

    assert "**1.50 ± 0.01**" in page
    assert f"* time, masks of the layer, fast: 1.50. {growth_page.PAIRS}." in page
    assert "It was idle." in page


def test_the_page_says_where_an_exponent_is_not_explained() -> None:
    page = growth_page.page_of(report(series(1.5, axis="photos")))

    assert "* time, photos in one call, fast: 1.50. The cause is not known yet." in page


def test_the_page_says_that_no_exponent_is_above_one() -> None:
    page = growth_page.page_of(report(series(1.04), series(0.5, axis="grid")))

    assert "There are none." in page
    assert "**" not in page
