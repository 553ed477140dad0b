"""The choice of runtime and precision is measured, on a simulated machine with its own clock."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from scorecam.backends.runtimes import measurements
from scorecam.backends.runtimes.agreement import CLOSE
from scorecam.model.engine import Speed
from simulated_machine import AUTO, FAST, OWN, Machine, Run

HALF = ("eager", "bfloat16")
FLOAT32, BFLOAT16 = (FAST, "float32"), (FAST, "bfloat16")

SPEEDS = {OWN: 0.018, HALF: 0.011, FLOAT32: 0.0033, BFLOAT16: 0.0016}
"""Seconds per image, as for EfficientNet-Lite0 on two cores."""

Make = Callable[..., Machine]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch, dict(SPEEDS))


def only_for(*photos: int, candidate: tuple[str, str] = BFLOAT16, by: float = 0.2):
    """An error of one candidate on some photos."""
    return lambda runtime, precision, photo: (
        by if (runtime, precision) == candidate and photo in photos else 0.0
    )


# ── the fastest that agrees ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(20))
def test_the_fastest_candidate_that_agrees_is_chosen_within_ten_photos(
    machine: Machine, seed: int
) -> None:
    draw = random.Random(seed)
    machine.seconds = {which: 0.002 * 10 ** draw.random() for which in SPEEDS}
    wrong = draw.choice([None, HALF, FLOAT32, BFLOAT16])
    machine.error = lambda runtime, precision, _photo: 0.2 * ((runtime, precision) == wrong)
    machine.conversion = 0.1
    run = Run(machine)
    run.photos(10)
    best = min(seconds for which, seconds in machine.seconds.items() if which != wrong)
    assert machine.seconds[run.choices[-1]] <= 1.3 * best
    assert run.choices[-1] != wrong


def test_a_slow_half_precision_loses_against_a_fast_float32(machine: Machine) -> None:
    machine.seconds = {OWN: 0.018, HALF: 0.045, FLOAT32: 0.003, BFLOAT16: 0.03}
    run = Run(machine)
    assert run.photos(8)[-1] == FLOAT32
    assert HALF not in run.choices


def test_half_precision_that_is_slower_than_the_network_itself_is_not_used(
    machine: Machine,
) -> None:
    machine.seconds[HALF] = 2.5 * machine.seconds[OWN]
    run = Run(machine, Speed("eager", "auto"))
    assert run.photos(12) == [OWN] * 12
    machine.seconds[HALF] = machine.seconds[OWN] / 2
    assert Run(machine, Speed("eager", "auto")).photos(12) == [HALF] * 12


def test_float32_is_not_converted_while_half_precision_does_well(machine: Machine) -> None:
    assert Run(machine).photos(30)[-1] == BFLOAT16
    assert machine.made == ["bfloat16"]


@pytest.mark.parametrize("named", [FLOAT32, BFLOAT16, HALF])
def test_a_named_choice_is_used_even_if_it_is_slow(
    machine: Machine, named: tuple[str, str]
) -> None:
    machine.seconds = {which: 0.1 if which == named else 0.001 for which in SPEEDS}
    run = Run(machine, Speed(*named))
    assert run.photos(5) == [named] * 5


def test_choosing_converts_for_no_more_than_the_passes_cost(machine: Machine) -> None:
    machine.conversion = 20.0
    run = Run(machine)
    run.photos(60)
    first = run.choices.index(BFLOAT16)
    without = sum(run.took[:first])
    assert without + machine.seconds[HALF] * 56 >= 20.0
    assert without < 1.2 * 20.0  # the passes until then, and choosing


# ── a busy machine ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("busy_photos", [1, 2, 3, 5, 8, 10, 20])
@pytest.mark.parametrize("slowed", [FLOAT32, BFLOAT16, HALF, OWN])
def test_a_choice_made_on_a_busy_machine_is_left_within_ten_photos(
    machine: Machine, busy_photos: int, slowed: tuple[str, str]
) -> None:
    """Another process slows one candidate down tenfold and the others by half, then stops."""
    machine.conversion = 0.1
    machine.load = lambda *which: 10.0 if which == slowed else 1.5
    run = Run(machine)
    run.photos(busy_photos)
    machine.load = lambda *_which: 1.0
    after = run.photos(20)
    best = min(machine.seconds[which] for which in after)
    assert best == machine.seconds[BFLOAT16]
    assert all(machine.seconds[which] <= 1.3 * best for which in after[10:])


def test_noise_on_a_busy_machine_does_not_change_the_choice(machine: Machine) -> None:
    draw = random.Random(0)
    machine.conversion = 0.1
    machine.load = lambda *_which: 1 + 4 * draw.random() * (draw.random() < 0.5)
    run = Run(machine)
    run.photos(60)
    wrong = sum(which != BFLOAT16 for which in run.choices[10:])
    assert wrong <= 2


def test_a_machine_that_becomes_busy_changes_to_what_is_fastest_then(machine: Machine) -> None:
    machine.conversion = 0.1
    run = Run(machine)
    assert run.photos(10)[-1] == BFLOAT16
    machine.load = lambda *which: 20.0 if which[0] == FAST else 1.0
    assert run.photos(10)[-1] == HALF
    machine.load = lambda *_which: 1.0
    assert run.photos(10)[-1] == BFLOAT16


def test_looking_again_takes_at_most_five_per_cent_of_the_time(machine: Machine) -> None:
    draw = random.Random(1)
    machine.conversion = 0.1
    machine.load = lambda *_which: draw.choice([1.0, 1.0, 3.0])
    run = Run(machine)
    run.photos(10)
    before = sum(run.took)
    for _ in range(200):
        run.photo()
    assert sum(run.choosing[10:]) <= 1.2 * measurements.SHARE * (sum(run.took) - before)
    assert sum(run.choosing[10:]) > 0


def test_a_lasting_choice_is_looked_at_more_and_more_rarely(machine: Machine) -> None:
    machine.conversion = 0.1
    machine.seconds[FLOAT32] = 0.002
    run = Run(machine)
    run.photos(200)
    looks = [number for number, seconds in enumerate(run.choosing) if seconds > 0]
    assert len(looks) < 30
    assert max(looks) > 100  # it never stops


# ── agreement ────────────────────────────────────────────────────────────────────────────────


def test_one_unlucky_first_photo_does_not_rule_a_candidate_out(machine: Machine) -> None:
    machine.conversion = 0.1
    machine.error = only_for(1, by=1.02 * CLOSE)
    run = Run(machine)
    run.photos(10)
    assert run.choices[0] != BFLOAT16
    assert run.choices[1:] == [BFLOAT16] * 9


def test_one_lucky_first_photo_does_not_let_a_candidate_in(machine: Machine) -> None:
    machine.conversion = 0.1
    machine.error = only_for(*range(2, 100))
    run = Run(machine)
    run.photos(40)
    assert run.choices[0] == BFLOAT16
    assert BFLOAT16 not in run.choices[1:]


def test_a_photo_whose_own_probe_disagrees_uses_another_candidate(machine: Machine) -> None:
    machine.conversion = 0.1
    machine.error = only_for(2)
    run = Run(machine)
    run.photos(6)
    assert run.choices[1] != BFLOAT16
    assert run.choices[5] == BFLOAT16


def test_a_candidate_that_starts_to_disagree_is_given_up(machine: Machine) -> None:
    machine.conversion = 0.1
    machine.error = only_for(*range(30, 1000))
    run = Run(machine)
    run.photos(300)
    assert run.choices[28] == BFLOAT16
    assert run.choices[-50:].count(BFLOAT16) == 0


def test_a_candidate_that_was_ruled_out_gets_another_chance(machine: Machine) -> None:
    machine.conversion = 0.1
    machine.error = only_for(*range(1, 6))
    run = Run(machine)
    run.photos(200)
    assert BFLOAT16 not in run.choices[:5]
    assert run.choices[-1] == BFLOAT16


def test_the_same_photo_again_is_not_probed_again(machine: Machine) -> None:
    machine.conversion = 0.1
    run = Run(machine, Speed("auto", "float32"))
    probed = [run.photo(number=7).probed for _ in range(4)]
    assert probed[0] > 0
    assert probed[1:] == [0, 0, 0]


def test_new_weights_are_judged_afresh(machine: Machine) -> None:
    machine.conversion = 0.0
    run = Run(machine)
    assert run.photos(6)[-1] == BFLOAT16
    machine.error = only_for(*range(100))
    run.network.module.weight.data.mul_(2)
    run.photo()
    assert run.choices[-1] != BFLOAT16


# ── shared state ─────────────────────────────────────────────────────────────────────────────


def test_threads_share_one_table_and_convert_once(machine: Machine) -> None:
    machine.conversion = 0.1
    run = Run(machine)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: run.photo(number=number), range(1, 65)))
    [table] = measurements._TABLES[run.network.module].values()
    assert table.photos == 64
    assert sorted(machine.made) == sorted(set(machine.made))
    assert run.photos(3) == [BFLOAT16] * 3


def test_records_do_not_grow_and_are_freed_with_their_network(machine: Machine) -> None:
    machine.conversion = 0.1
    run = Run(machine)
    gone = weakref.ref(run.network.module)
    run.photos(100)
    [table] = measurements._TABLES[run.network.module].values()
    for record in table._records.values():
        assert len(record._times) <= measurements.TIMES
        assert len(record.distances) <= measurements.VERDICTS
    del run, table, record
    gc.collect()
    assert gone() is None


def test_equal_measurements_give_equal_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    for _ in range(2):
        machine = Machine(monkeypatch, dict(SPEEDS))
        draw = random.Random(3)
        machine.load = lambda *_which, draw=draw: 1 + draw.random()
        run = Run(machine, AUTO)
        run.photos(40)
        runs.append((run.choices, run.took))
    assert runs[0] == runs[1]
