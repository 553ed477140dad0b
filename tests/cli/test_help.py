"""Help texts contain exactly the names that the code accepts."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import scorecam as package
from scorecam.backends.opening import diagnoses
from scorecam.backends.zoo.lite import LITES
from scorecam.cam import Head
from scorecam.cli import known
from scorecam.cli.app import COMMANDS
from scorecam.cli.doctor import OPTIONAL
from scorecam.cli.groups import with_option_groups
from scorecam.cli.options import ModelOptions
from scorecam.metrics import PRESETS
from scorecam.runs.sanity.networks import MODES
from scorecam.settings import OPTIONS
from scorecam.tasks import TASKS


@pytest.mark.parametrize(
    ("names", "accepted"),
    [
        (known.BUNDLED_MODELS, LITES),
        (known.HEADS, ("auto", *get_args(Head))),
        (known.METRIC_PRESETS, PRESETS),
        (known.RANDOMISATIONS, MODES),
        (known.TASKS, TASKS),
        (known.MASKED_PIXELS, get_args(get_type_hints(package.evaluate)["fill"])),
    ],
)
def test_help_names_what_the_code_accepts(names: Iterable[str], accepted: Iterable[str]) -> None:
    assert tuple(names) == tuple(accepted)


@pytest.mark.parametrize("setting", OPTIONS)
def test_help_names_every_word_of_a_setting(setting: str) -> None:
    assert known.SETTING_WORDS.get(setting, ()) == tuple(OPTIONS[setting].words())


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [known.any_of(names) for names in ("a", "ab", "abc")] == ["a", "a or b", "a, b or c"]


def test_an_option_has_one_help_text_in_all_commands() -> None:
    texts: dict[str, set[str]] = {}
    for command in COMMANDS:
        for parameter in inspect.signature(with_option_groups(command)).parameters.values():
            [option] = parameter.annotation.__metadata__
            texts.setdefault(parameter.name, set()).add(option.help)
    differ = {name for name, helps in texts.items() if len(helps) > 1}

    assert differ <= {"out", "target", "methods", "method"}


def test_a_group_of_options_arrives_as_one_object() -> None:
    def command(*, source: ModelOptions, other: int = 1) -> int:
        assert source == ModelOptions("lite1", device="cpu")
        return other

    run = with_option_groups(command)

    options = dataclasses.asdict(ModelOptions("lite1", device="cpu"))
    options |= options.pop("tasks")
    assert list(inspect.signature(run).parameters) == [*options, "other"]
    assert run(other=7, **options) == 7


def test_doctor_names_extras_that_install_missing_libraries() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    extras: dict[str, list[str]] = project["project"]["optional-dependencies"]
    libraries = [library for backend in diagnoses() for library in backend.optional]
    for module, _, install in (*libraries, *OPTIONAL):
        if extra := re.search(r"scorecam\[(\w+)\]", install):
            library = module.partition(".")[0].replace("_", "-")
            assert any(needed.startswith(library) for needed in extras[extra[1]]), module
