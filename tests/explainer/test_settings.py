"""Settings are declared once and checked once."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys

import pytest

import scorecam
from scorecam.settings import OPTIONS, Settings


def test_every_field_has_an_option_with_its_default() -> None:
    assert [field.name for field in dataclasses.fields(Settings)] == list(OPTIONS)
    for field in dataclasses.fields(Settings):
        assert field.default == OPTIONS[field.name].default


@pytest.mark.parametrize("function", [scorecam.explain, scorecam.ScoreCAM, scorecam.evaluate])
def test_public_functions_have_the_same_defaults(function: object) -> None:
    parameters = inspect.signature(function).parameters  # type: ignore[arg-type]
    for name in set(parameters) & set(OPTIONS):
        assert parameters[name].default == OPTIONS[name].default
    # The variants of a run are settings of its methods.
    missing = {"variant"} if function is scorecam.evaluate else set()
    assert set(OPTIONS) - set(parameters) == missing


def test_by_default_the_variant_suits_the_layer_and_the_rest_is_the_papers() -> None:
    settings = Settings()
    assert settings.variant == "auto"
    assert settings.masking == scorecam.Masking()
    assert settings.exact
    assert settings.plan is None
    assert settings.budget_text == "exact"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("variant", "offical"),
        ("budget", 0),
        ("tolerance", 2.0),
        ("masking", "zero"),
        ("batch_size", 0),
        ("seed", 0.5),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: object) -> None:
    with pytest.raises(scorecam.SettingError, match=name):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_the_help_lists_the_accepted_words() -> None:
    for variant in scorecam.VARIANTS:
        assert variant in OPTIONS["variant"].help


def test_counts_are_read_as_numbers_and_words_as_strings() -> None:
    assert OPTIONS["budget"].read("64") == 64
    assert OPTIONS["budget"].read("fast") == "fast"
    assert OPTIONS["variant"].read("12") == "12"


def test_importing_settings_does_not_import_torch() -> None:
    code = "import sys, scorecam.settings; print('torch' in sys.modules, 'numpy' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "False"]
