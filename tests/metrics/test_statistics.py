"""Means with intervals."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from scorecam.errors import MissingExtra
from scorecam.metrics.statistics import interval, paired, wilson

pytestmark = pytest.mark.needs("eval")


def test_a_mean_has_an_interval_around_it() -> None:
    values = np.random.default_rng(0).normal(3.0, 1.0, 400)
    result = interval(values.tolist())
    half = 1.96 * values.std() / 20  # the theoretical value for 400 values
    assert result.mean == pytest.approx(values.mean())
    assert result.mean - result.low == pytest.approx(half, rel=0.1)
    assert result.high - result.mean == pytest.approx(half, rel=0.1)
    assert result.n == 400


def test_intervals_have_about_their_nominal_coverage() -> None:
    random = np.random.default_rng(1)
    hits = [not interval(random.random(60).tolist()).excludes(0.5) for _ in range(120)]
    assert 0.88 <= np.mean(hits) <= 1.0


def test_pairs_are_compared_image_by_image() -> None:
    one = np.random.default_rng(2).random(50)
    result = paired((one + 0.01).tolist(), one.tolist())
    assert result.mean == pytest.approx(0.01)
    assert result.excludes(0.0)
    assert interval((one + 0.01).tolist()).low < one.mean()  # unpaired, they do not differ


def test_images_of_one_group_are_resampled_together() -> None:
    random = np.random.default_rng(5)
    things = random.random(25)
    values = np.repeat(things, 8)  # eight equal photos of each thing
    names = np.repeat([f"thing {n}" for n in range(25)], 8).tolist()
    apart, together = interval(values.tolist()), interval(values.tolist(), clusters=names)
    alone = interval(things.tolist())
    assert together.mean == apart.mean
    assert together.n == 200
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.05)
    assert apart.high - apart.low < 0.5 * (together.high - together.low)
    assert math.isnan(interval([1.0, 2.0], clusters=["a", "a"]).low)


def test_few_values_have_no_interval() -> None:
    assert math.isnan(interval([]).mean)
    assert interval([]).n == 0
    single = interval([0.3])
    assert (single.mean, single.n) == (0.3, 1)
    assert math.isnan(single.low)
    assert not single.excludes(0.0)
    same = interval([0.5, 0.5, 0.5])
    assert (same.low, same.high) == (0.5, 0.5)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(3).random(30).tolist()
    assert interval(values, seed=4) == interval(values, seed=4)
    assert interval(values, seed=4) != interval(values, seed=5)


def test_without_scipy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingExtra, match=r"scorecam\[eval\]"):
        interval([1.0, 2.0])


def test_wilsons_interval_equals_scipys() -> None:
    from scipy.stats import binomtest

    for successes, trials in ((0, 10), (3, 10), (10, 10), (90, 96), (1, 1)):
        result = wilson(successes, trials)
        theirs = binomtest(successes, trials).proportion_ci(method="wilson")
        assert (result.low, result.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
        assert result.mean == successes / trials
    assert math.isnan(wilson(0, 0).mean)
