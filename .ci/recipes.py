"""Read the recipes of docs/extending.md, and apply one to a copy of the package.

Each section of the page is one recipe. A `diff` block starts with the path of the file it changes;
a `python` block that starts with `# src/…` is a new file; any other `python` block is the check.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_SECTION = re.compile(r"^## ", re.MULTILINE)
_BLOCK = re.compile(r"^```(python|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Change:
    """Lines of one file: what stands there before, and after. A new file has nothing before."""

    path: str
    before: str
    after: str


@dataclass(frozen=True)
class Recipe:
    """How to add one kind of thing.

    Args:
        title: the section's heading.
        changes: new files and changed ones.
        check: a program that fails unless the changes work.
    """

    title: str
    changes: tuple[Change, ...]
    check: str

    @property
    def files(self) -> list[str]:
        """The files it touches."""
        return sorted({change.path for change in self.changes})

    def apply(self, root: Path) -> None:
        """Make the changes in a copy of the project.

        Raises:
            ValueError: the lines to change are not in the file exactly once.
        """
        for change in self.changes:
            file = root / change.path
            if not change.before:
                if file.exists():
                    raise ValueError(f"{change.path} exists already")
                file.write_text(change.after, "utf-8")
                continue
            text = file.read_text("utf-8")
            if (count := text.count(change.before)) != 1:
                raise ValueError(f"{change.path} has these lines {count} times:\n{change.before}")
            file.write_text(text.replace(change.before, change.after), "utf-8")


def recipes(page: str) -> list[Recipe]:
    """The recipes of the page; sections without code are left out."""
    found = [_recipe(section) for section in _SECTION.split(page)[1:]]
    return [recipe for recipe in found if recipe.changes]


def _recipe(section: str) -> Recipe:
    changes: list[Change] = []
    checks: list[str] = []
    for kind, body in _BLOCK.findall(section):
        if kind == "diff":
            changes += _hunks(body)
        elif path := re.match(r"# (src/\S+)\n", body):
            changes.append(Change(path[1], "", body[path.end() :].lstrip("\n")))
        else:
            checks.append(body)
    return Recipe(section.partition("\n")[0], tuple(changes), "\n".join(checks))


def _hunks(body: str) -> list[Change]:
    """The changes of one file: its path, then groups of lines that start with ` `, `-` or `+`."""
    path, _, rest = body.partition("\n")
    changes: list[Change] = []
    for hunk in re.split(r"\n{2,}", rest.strip("\n")):
        lines = hunk.split("\n")
        before = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
        after = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
        changes.append(Change(path, before, after))
    return changes


def files_per_recipe(root: Path) -> dict[str, int]:
    """Title → number of files it touches; empty for a tree without the page."""
    page = root / "docs/extending.md"
    if not page.exists():
        return {}
    return {recipe.title: len(recipe.files) for recipe in recipes(page.read_text("utf-8"))}
