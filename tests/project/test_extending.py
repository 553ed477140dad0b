"""Every recipe of docs/extending.md, applied to a copy of the package and run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from recipes import Recipe, recipes

PROJECT = Path(__file__).parents[2]

PAGE = PROJECT / "docs/extending.md"
RECIPES = recipes(PAGE.read_text("utf-8"))
FILES = {
    "A variant": 2,
    "A metric": 1,
    "A method": 1,
    "A task": 3,
    "A runtime": 2,
    "A backend": 2,
    "A data set format": 2,
    "A format of files of numbers": 2,
    "An audit rule": 2,
    "An option that reaches the method": 3,
}
"""How many files each recipe touches."""


def test_every_kind_of_thing_has_a_recipe_and_touches_few_files() -> None:
    assert {recipe.title: len(recipe.files) for recipe in RECIPES} == FILES


@pytest.mark.needs("demo", "eval", "audit")
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
def test_a_recipe_works_on_a_copy_of_the_package(recipe: Recipe, tmp_path: Path) -> None:
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "src", tmp_path / "src", ignore=skipped)
    (tmp_path / "work").mkdir()

    without = run(recipe, tmp_path)
    recipe.apply(tmp_path)
    done = run(recipe, tmp_path)

    assert without.returncode != 0, "the check passes without the recipe"
    assert done.returncode == 0, done.stdout + done.stderr


def run(recipe: Recipe, root: Path) -> subprocess.CompletedProcess[str]:
    """Run the recipe's check on the package in `root/src`."""
    paths = [str(root / "src"), str(PROJECT / "tests/helpers")]
    return subprocess.run(
        [sys.executable, "-c", recipe.check],
        cwd=root / "work",
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
