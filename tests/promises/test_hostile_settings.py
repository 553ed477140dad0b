"""Any text or value for a setting is accepted or refused with an error, and never executed."""

from __future__ import annotations

import dataclasses
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

MAX_CHARACTERS = 600

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


def refusal(parse: Callable[[], object]) -> str:
    """The error of a call, or an empty text if it succeeds."""
    try:
        parse()
    except ScorecamError as error:
        message = str(error)
        assert 0 < len(message) <= MAX_CHARACTERS, message[:200]
        return message
    return ""


# ── settings of methods ──────────────────────────────────────────────────────────────────────


def limits_of(kind: str) -> dict[str, Range]:
    """The declared ranges of a method's numbers."""
    fields = dataclasses.fields(METHODS[kind])
    return {each.name: each.metadata["limits"] for each in fields if each.metadata.get("limits")}


SETTINGS = [(kind, key) for kind, known in METHODS.items() for key in known.defaults()]


@pytest.mark.parametrize(("kind", "key"), SETTINGS)
def test_every_number_of_every_method_has_a_range(kind: str, key: str) -> None:
    default = METHODS[kind].defaults()[key]
    if isinstance(default, str):
        return
    limits = limits_of(kind)[key]
    assert isinstance(limits, Whole if isinstance(default, int) else Real)
    assert limits.holds(default)


@pytest.mark.parametrize(("kind", "key"), SETTINGS)
def test_any_text_for_a_methods_setting_is_read_or_refused(kind: str, key: str) -> None:
    for text in TEXTS:
        message = refusal(lambda text=text: parse_methods(f"{kind}:{key}={text}"))
        if limits := limits_of(kind).get(key):
            largest = limits.most if isinstance(limits, Whole) else limits.high
            if text.isascii() and text.isdigit() and (len(text) > 30 or int(text) > largest):
                assert message


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
            METHODS[kind](kind, **{key: number})


@pytest.mark.parametrize(("kind", "key"), SETTINGS)
def test_any_value_for_a_methods_setting_is_read_or_refused(kind: str, key: str) -> None:
    if key not in limits_of(kind):
        return
    for value in OBJECTS:
        refusal(lambda value=value: METHODS[kind](kind, **{key: value}))
    for value in (None, "7", [], math.nan, 10**5000, True):
        with pytest.raises(SettingError):
            METHODS[kind](kind, **{key: value})


def test_settings_that_exceed_the_memory_are_refused() -> None:
    with pytest.raises(SettingError, match=f"{MOST_CELLS:,}"):
        parse_methods("rise:masks=1000000:cells=1000")
    rise: Any = parse_methods("rise:masks=1000:cells=200")[0]
    with pytest.raises(SettingError, match="3 axes"):
        check_grids(rise, axes=3)


# ── lists of methods and metrics, sides of a comparison ──────────────────────────────────────

PIECES = st.sampled_from(
    [*METHODS, *METRICS, *PRESETS, *{key for _, key in SETTINGS}, ":", "=", ",", " ", "1", "0.5",
     "-1", "nan", "official", "weights", "lite0", "precision", "../", "\0", "\ud800", "9" * 50]
)  # fmt: skip
SPECS = st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=60))


@settings(max_examples=500, deadline=None)
@given(SPECS)
def test_any_text_for_methods_is_read_or_refused(text: str) -> None:
    refusal(lambda: parse_methods(text))


@settings(max_examples=200, deadline=None)
@given(SPECS)
def test_any_text_for_metrics_sides_gates_or_shards_is_handled(text: str) -> None:
    for read in (parse_metrics, parse_side, parse_gates, parse_shard):
        refusal(lambda read=read: read(text))


@pytest.mark.parametrize("repeat", [1000, 100_000])
def test_a_very_long_list_is_refused_at_once(repeat: int) -> None:
    assert refusal(lambda: parse_methods("scorecam," * repeat))
    assert refusal(lambda: parse_methods("rise:" * repeat))
    parse_methods("scorecam," + " " * 1000)
    refusal(lambda: parse_metrics("paper," * repeat))


# ── every other option and setting ───────────────────────────────────────────────────────────


def selected(**settings: Any) -> object:
    from pathlib import Path

    return select(Dataset(Path(), "photos", (), ()), **settings)


OPTION_PARSERS: dict[str, Callable[[Any], object]] = {
    "--budget": lambda text: plan(OPTIONS["budget"].read(text), None),
    "--batch-size": lambda text: first_batch_size(
        OPTIONS["batch_size"].read(text), torch.zeros(1, 3, 8, 8)
    ),
    "--metrics": parse_metrics,
    "--methods": parse_methods,
    "--variant": find_variant,
    "--shard": lambda text: selected(shard=parse_shard(text)),
    "--fail-under": parse_gates,
    "a side of compare": lambda text: parse_side(text).is_run,
}


@pytest.mark.parametrize("parse", OPTION_PARSERS.values(), ids=OPTION_PARSERS)
def test_any_text_for_an_option_is_read_or_refused(
    parse: Callable[[str], object],
) -> None:
    for text in TEXTS:
        refusal(lambda text=text: parse(text))


PYTHON_PARSERS: dict[str, Callable[[Any], object]] = {
    "budget": lambda value: plan(value, None),
    "tolerance": lambda value: plan("exact", value),
    "budget and tolerance": lambda value: plan(value, 0.1),
    "batch_size": lambda value: first_batch_size(value, torch.zeros(1, 3, 8, 8)),
    "seeds": lambda value: list(all_jobs(["fc"], ["cascading"], value)),
    "limit": lambda value: selected(limit=value),
    "at_most": lambda value: selected(at_most=value),
    "shard": lambda value: selected(shard=(1, value)),
    "seed of a selection": lambda value: selected(seed=value),
}


@pytest.mark.parametrize("parse", PYTHON_PARSERS.values(), ids=PYTHON_PARSERS)
def test_any_value_for_a_setting_is_read_or_refused(
    parse: Callable[[object], object],
) -> None:
    for value in OBJECTS:
        refusal(lambda value=value: parse(value))


def test_absurd_numbers_are_refused() -> None:
    for name in ("budget", "batch_size", "seeds", "limit", "shard", "seed of a selection"):
        for number in (10**30, -(10**5000), 10**5000):
            assert refusal(lambda name=name, number=number: PYTHON_PARSERS[name](number)), name
    for name in ("--budget", "--batch-size", "--shard"):
        assert refusal(lambda name=name: OPTION_PARSERS[name]("9" * 5000)), name
    with pytest.raises(TargetError):
        find_target("9" * 5000, torch.zeros(3), None, "logits")


@pytest.mark.parametrize("seed", [SEED.least, -1, 0, 2**63, SEED.most])
def test_every_valid_seed_works_with_torch(seed: int) -> None:
    SEED.check("seed", seed)
    torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("text", ["similarity=0.9=", "similarity=nan", "similarity=1e400", "a,b"])
def test_an_invalid_gate_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="does not have the form NAME=NUMBER"):
        parse_gates(text)


def test_a_repeated_setting_of_a_side_is_refused() -> None:
    with pytest.raises(SettingError, match="twice"):
        parse_side("lite0,head=value,head=logits")


def test_the_error_for_a_large_seed_does_not_mention_memory() -> None:
    with pytest.raises(SettingError) as caught:
        SEED.check("seed", 2**64)
    assert "which is the limit" in str(caught.value)
    assert "memory" not in str(caught.value)
