"""Whatever is written where a setting is read is understood, or refused in words; never run."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scorecam.budget.plan import plan
from scorecam.cam import find_variant
from scorecam.cli.compare import parse_gates
from scorecam.cli.evaluate import parse_shard
from scorecam.datasets.sample import Dataset
from scorecam.datasets.selection import select
from scorecam.errors import ScorecamError, SettingError, TargetError
from scorecam.io.ranges import SEED, Range, Real, Whole
from scorecam.methods.names import METHODS, parse_methods
from scorecam.methods.rise import MOST_CELLS, check_grids
from scorecam.metrics.names import METRICS, PRESETS, parse_metrics
from scorecam.model.batches import first_batch_size
from scorecam.model.target import find_target
from scorecam.runs.compare.sides import parse_side
from scorecam.runs.sanity.networks import all_jobs
from scorecam.settings import OPTIONS

LONGEST_MESSAGE = 600

TEXTS = [
    "", " ", "0", "-1", "1", "2", "0.5", "1e3", "1e400", "-1e400", "nan", "inf", "-inf", "1_000",
    "_1", "1__0", "٣", "²", "½", "0x10", "1e-400", "+5", " 5 ", "5\n", "1,5", "true", "None",
    str(10**30), "99999999999", str(2**63), "9" * 5000, "-" + "9" * 5000, "1" * 100_000,
    "x" * 100_000, "x" * 1000,
    "a\0b", "\0", "\ud800", "\x1b]0;title\x07", "=", "==", "a=b", ":", "::", ",",
    "/", "1/", "/2", "1/2/3", "0/1", "2/1", "'", '"', "{}", "[1]", "a.b:c", "..:x", ":x", "x:",
    "torchvision:", "torchvision:\0", "lite0,precision=", "..", "/dev/zero", "\u202e", "\\", "%s",
    "lite0,lite0", "lite0,head=value,head=value",
]  # fmt: skip
OBJECTS: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**30, 10**5000, -(10**5000), math.nan, math.inf, -math.inf,
    "", "7", b"7", [], [1], {}, object(), 1j, np.int64(5), np.float32(0.5), np.array(["x"]),
    np.array([1, 2]), np.array([]), np.ones(1, bool)[0], torch.tensor(3), torch.tensor([1.0, 2.0]),
    torch.ones(2, device="meta"), torch.ones(2, 2).to_sparse(), lambda: None, ...,
]  # fmt: skip


def answered(ask: Callable[[], object]) -> str:
    """What was said against it; empty where it was understood."""
    try:
        ask()
    except ScorecamError as error:
        said = str(error)
        assert 0 < len(said) <= LONGEST_MESSAGE, said[:200]
        return said
    return ""


# ── settings of methods ──────────────────────────────────────────────────────────────────────


def limits_of(kind: str) -> dict[str, Range]:
    """The declared ranges of a method's numbers."""
    build_it: Any = METHODS[kind].build
    if isinstance(build_it, functools.partial) or not dataclasses.is_dataclass(build_it):
        return {}
    fields = dataclasses.fields(build_it)
    return {each.name: each.metadata["limits"] for each in fields if "limits" in each.metadata}


SETTINGS = [(kind, key) for kind, known in METHODS.items() for key in known.settings]


@pytest.mark.parametrize(("kind", "key"), SETTINGS)
def test_every_number_of_every_method_has_a_range(kind: str, key: str) -> None:
    default = METHODS[kind].settings[key]
    if isinstance(default, str):
        return
    limits = limits_of(kind)[key]
    assert isinstance(limits, Whole if isinstance(default, int) else Real)
    assert limits.holds(default)


@pytest.mark.parametrize(("kind", "key"), SETTINGS)
def test_a_methods_setting_is_understood_or_refused_in_words(kind: str, key: str) -> None:
    for text in TEXTS:
        said = answered(lambda text=text: parse_methods(f"{kind}:{key}={text}"))
        if limits := limits_of(kind).get(key):
            largest = limits.most if isinstance(limits, Whole) else limits.high
            if text.isascii() and text.isdigit() and (len(text) > 30 or int(text) > largest):
                assert said


@pytest.mark.parametrize(("kind", "key"), SETTINGS)
def test_a_number_beyond_its_range_is_refused(kind: str, key: str) -> None:
    limits = limits_of(kind).get(key)
    if isinstance(limits, Whole):
        beyond: list[object] = [limits.least - 1, limits.most + 1, 99999999999999]
    elif isinstance(limits, Real):
        beyond = [math.nextafter(limits.low, -math.inf), limits.high * 1.001, 1e300]
    else:
        return
    for number in beyond:
        with pytest.raises(SettingError, match=key):
            parse_methods(f"{kind}:{key}={number}")
        with pytest.raises(SettingError, match=key):
            METHODS[kind].build(kind, **{key: number})


@pytest.mark.parametrize(("kind", "key"), SETTINGS)
def test_a_methods_setting_in_python_is_a_number_or_refused_in_words(kind: str, key: str) -> None:
    if key not in limits_of(kind):
        return
    for value in OBJECTS:
        answered(lambda value=value: METHODS[kind].build(kind, **{key: value}))
    for value in (None, "7", [], math.nan, 10**5000, True):
        with pytest.raises(SettingError):
            METHODS[kind].build(kind, **{key: value})


def test_masks_that_do_not_fit_into_memory_together_are_refused() -> None:
    with pytest.raises(SettingError, match=f"{MOST_CELLS:,}"):
        parse_methods("rise:masks=1000000:cells=1000")
    rise: Any = parse_methods("rise:masks=1000:cells=200")[0]
    with pytest.raises(SettingError, match="3 axes"):
        check_grids(rise, axes=3)


# ── lists of methods, measures, sides ────────────────────────────────────────────────────────

PIECES = st.sampled_from(
    [*METHODS, *METRICS, *PRESETS, *{key for _, key in SETTINGS}, ":", "=", ",", " ", "1", "0.5",
     "-1", "nan", "official", "weights", "lite0", "precision", "../", "\0", "\ud800", "9" * 50]
)  # fmt: skip
SPECS = st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=60))


@settings(max_examples=500, deadline=None)
@given(SPECS)
def test_any_text_is_a_list_of_methods_or_refused_in_words(text: str) -> None:
    answered(lambda: parse_methods(text))


@settings(max_examples=200, deadline=None)
@given(SPECS)
def test_any_text_is_a_list_of_measures_a_side_gates_or_a_shard_or_refused(text: str) -> None:
    for read in (parse_metrics, parse_side, parse_gates, parse_shard):
        answered(lambda read=read: read(text))


@pytest.mark.parametrize("repeat", [1000, 100_000])
def test_a_list_as_long_as_a_file_is_refused_at_once(repeat: int) -> None:
    assert answered(lambda: parse_methods("scorecam," * repeat))
    assert answered(lambda: parse_methods("rise:" * repeat))
    parse_methods("scorecam," + " " * 1000)
    answered(lambda: parse_metrics("paper," * repeat))


# ── every other place where a text is read ───────────────────────────────────────────────────


def chosen(**given: Any) -> object:
    from pathlib import Path

    return select(Dataset(Path(), "photos", (), ()), **given)


DOORS: dict[str, Callable[[Any], object]] = {
    "--budget": lambda text: plan(OPTIONS["budget"].read(text), None),
    "--batch-size": lambda text: first_batch_size(
        OPTIONS["batch_size"].read(text), torch.zeros(1, 3, 8, 8)
    ),
    "--metrics": parse_metrics,
    "--methods": parse_methods,
    "--variant": find_variant,
    "--shard": lambda text: chosen(shard=parse_shard(text)),
    "--fail-under": parse_gates,
    "a side of compare": lambda text: parse_side(text).is_run,
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_any_text_for_an_option_is_understood_or_refused_in_words(
    door: Callable[[str], object],
) -> None:
    for text in TEXTS:
        answered(lambda text=text: door(text))


IN_PYTHON: dict[str, Callable[[Any], object]] = {
    "budget": lambda value: plan(value, None),
    "tolerance": lambda value: plan("exact", value),
    "budget and tolerance": lambda value: plan(value, 0.1),
    "batch_size": lambda value: first_batch_size(value, torch.zeros(1, 3, 8, 8)),
    "seeds": lambda value: list(all_jobs(["fc"], ["cascading"], value)),
    "limit": lambda value: chosen(limit=value),
    "at_most": lambda value: chosen(at_most=value),
    "shard": lambda value: chosen(shard=(1, value)),
    "seed of a selection": lambda value: chosen(seed=value),
}


@pytest.mark.parametrize("door", IN_PYTHON.values(), ids=IN_PYTHON)
def test_any_value_for_a_setting_is_understood_or_refused_in_words(
    door: Callable[[object], object],
) -> None:
    for value in OBJECTS:
        answered(lambda value=value: door(value))


def test_absurd_numbers_are_refused() -> None:
    for door in ("budget", "batch_size", "seeds", "limit", "shard", "seed of a selection"):
        for number in (10**30, -(10**5000), 10**5000):
            assert answered(lambda door=door, number=number: IN_PYTHON[door](number)), door
    for door in ("--budget", "--batch-size", "--shard"):
        assert answered(lambda door=door: DOORS[door]("9" * 5000)), door
    with pytest.raises(TargetError):
        find_target("9" * 5000, torch.zeros(3), None, "logits")


@pytest.mark.parametrize("seed", [SEED.least, -1, 0, 2**63, SEED.most])
def test_every_seed_that_is_accepted_can_be_drawn_from(seed: int) -> None:
    SEED.check("seed", seed)
    torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("text", ["similarity=0.9=", "similarity=nan", "similarity=1e400", "a,b"])
def test_a_gate_that_is_not_a_number_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="is not of the form NAME=NUMBER"):
        parse_gates(text)


def test_a_setting_of_a_side_is_given_once() -> None:
    with pytest.raises(SettingError, match="twice"):
        parse_side("lite0,head=value,head=logits")


def test_a_seed_beyond_its_range_is_not_said_to_take_memory() -> None:
    with pytest.raises(SettingError) as refused:
        SEED.check("seed", 2**64)
    assert "which is the limit" in str(refused.value)
    assert "memory" not in str(refused.value)
