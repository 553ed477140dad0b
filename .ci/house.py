"""Measure the house: the tree, its imports, its functions, its tests and benchmarks.

    python .ci/house.py               # a Markdown table of this working tree
    python .ci/house.py --tree REV    # that commit in a column before this working tree
    python .ci/house.py --check       # exit 1 where a number exceeds its limit

Only the standard library is needed, so any Python from 3.11 on can run it. Circles between root
modules and packages always exit 1, because then the number of floors means little.
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sources import (
    Definition,
    File,
    Function,
    Graph,
    arguments,
    body_lines,
    circles,
    import_graph,
    longest_path,
    parameters,
    read,
    resolve,
)

ROOT = Path(__file__).parents[1]
PACKAGE = "scorecam"

LIMITS: dict[str, float] = {
    "Loose modules at the root": 8,
    "Packages": 19,
    "Import floors": 12,
    "Circles between root modules and packages": 0,
    "Circles between files of src": 0,
    "Circles between files of benchmarks": 0,
    "Most parameters": 29,
    "Most parameters below the front door": 10,
    "Functions over 8 parameters": 10,
    "Longest body in lines": 87,
    "Bodies over 40 lines": 10,
    "Calls with over 4 positional arguments": 88,
    "Largest file in lines": 554,
    "Files over 400 lines": 12,
    "Test files that import another test file": 0,
    "Test files at the root of tests": 0,
    "Uses of sys.path in benchmarks": 0,
    "Median length of test names": 60,
}
"""The most that `--check` accepts; lower a limit when the house gets better."""


@dataclass(frozen=True)
class Measure:
    """A number, and where it was found."""

    value: float
    where: str = ""

    def __str__(self) -> str:
        return f"{self.value:g} ({self.where})" if self.where else f"{self.value:g}"


@dataclass(frozen=True)
class House:
    """The three folders that are measured."""

    root: Path

    @cached_property
    def src(self) -> dict[str, File]:
        """The files of the package, by module name."""
        return read(self.root / "src" / PACKAGE, PACKAGE)

    @cached_property
    def tests(self) -> dict[str, File]:
        """Every file of the tests; most are no test files themselves."""
        return read(self.root / "tests", "tests")

    @property
    def test_files(self) -> list[File]:
        """The files that pytest collects."""
        return [file for file in self.tests.values() if Path(file.path).name.startswith("test_")]

    @cached_property
    def benchmarks(self) -> dict[str, File]:
        """The scripts that measure."""
        return read(self.root / "benchmarks", "benchmarks")

    @cached_property
    def functions(self) -> dict[Function, tuple[str, int]]:
        """Every function and method of the package → its name and number of parameters."""
        return {
            node: (f"{file.name.removeprefix(f'{PACKAGE}.')}.{name}", parameters(node, is_method))
            for file in self.src.values()
            for name, node, is_method in file.functions
        }

    @cached_property
    def front_door(self) -> set[ast.AST]:
        """What users call: the names of `__all__` with their methods, and the commands."""
        door: set[ast.AST] = set()
        for name in _exported(self.src[PACKAGE]):
            found = resolve(self.src, PACKAGE, name)
            if found:
                door.update(ast.walk(found) if isinstance(found, ast.ClassDef) else [found])
        for file in self.src.values():
            if file.name.startswith(f"{PACKAGE}.cli"):
                door.update(node for node in file.definitions.values() if _is_command(node))
        return door


def _exported(file: File) -> list[str]:
    for node in file.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def _is_command(node: Definition) -> bool:
    """Whether a function takes options of the command line, as only commands do."""
    if not isinstance(node, Function) or node.name.startswith("_"):
        return False
    annotations = [ast.unparse(arg.annotation) for arg in arguments(node) if arg.annotation]
    return any("Option" in text or "Argument" in text for text in annotations)


# ── the tree ─────────────────────────────────────────────────────────────────────────────────


def loose_modules(house: House) -> Measure:
    """Loose modules at the root."""
    return Measure(sum(not file.is_package for file in _root_units(house)))


def packages(house: House) -> Measure:
    """Packages."""
    return Measure(sum(file.is_package for file in _root_units(house)))


def _root_units(house: House) -> Iterator[File]:
    for file in house.src.values():
        if file.name.count(".") == 1 and not file.name.endswith("__main__"):
            yield file


def import_floors(house: House) -> Measure:
    """Import floors."""
    path = longest_path(_unit_graph(house))
    return Measure(len(path), " → ".join(path))


def unit_circles(house: House) -> Measure:
    """Circles between root modules and packages."""
    return _circles(_unit_graph(house))


def source_circles(house: House) -> Measure:
    """Circles between files of src."""
    return _circles(import_graph(house.src))


def benchmark_circles(house: House) -> Measure:
    """Circles between files of benchmarks."""
    return _circles(import_graph(house.benchmarks, scripts=True))


def _unit_graph(house: House) -> Graph:
    """The imports between root modules and packages, the package itself and __main__ left out."""

    def unit(module: str) -> str:
        return module.split(".")[1] if "." in module else PACKAGE

    units: Graph = {unit(module): set() for module in house.src}
    for module, imported in import_graph(house.src).items():
        units[unit(module)] |= {unit(other) for other in imported} - {unit(module)}
    left_out = {PACKAGE, "__main__"}
    return {name: uses - left_out for name, uses in units.items() if name not in left_out}


def _circles(graph: Graph) -> Measure:
    groups = circles(graph)
    return Measure(len(groups), "; ".join(" ↔ ".join(group) for group in groups))


# ── functions ────────────────────────────────────────────────────────────────────────────────


def most_parameters(house: House) -> Measure:
    """Most parameters."""
    return _largest((count, name) for name, count in house.functions.values())


def most_parameters_inside(house: House) -> Measure:
    """Most parameters below the front door."""
    return _largest(
        (count, name)
        for node, (name, count) in house.functions.items()
        if node not in house.front_door
    )


def many_parameters(house: House) -> Measure:
    """Functions over 8 parameters."""
    return Measure(sum(count > 8 for _, count in house.functions.values()))


def longest_body(house: House) -> Measure:
    """Longest body in lines."""
    return _largest((body_lines(node), name) for node, (name, _) in house.functions.items())


def long_bodies(house: House) -> Measure:
    """Bodies over 40 lines."""
    return Measure(sum(body_lines(node) > 40 for node in house.functions))


def positional_calls(house: House) -> Measure:
    """Calls with over 4 positional arguments."""
    return Measure(
        sum(
            _positional(node) > 4 and _is_own(house, file, node.func)
            for file in house.src.values()
            for node in ast.walk(file.tree)
            if isinstance(node, ast.Call)
        )
    )


def _positional(call: ast.Call) -> int:
    return sum(not isinstance(arg, ast.Starred) for arg in call.args)


def _is_own(house: House, file: File, called: ast.expr) -> bool:
    """Whether a call means a function, class or method that the package defines."""
    if isinstance(called, ast.Name):
        inner = any(
            node.name == called.id for _, node, is_method in file.functions if not is_method
        )
        return inner or resolve(house.src, file.name, called.id) is not None
    if not isinstance(called, ast.Attribute):
        return False
    if isinstance(called.value, ast.Name) and called.value.id in file.imports:
        source, name = file.imports[called.value.id]
        module = f"{source}.{name}" if name else source
        return module in house.src and resolve(house.src, module, called.attr) is not None
    return sum(node.name == called.attr for node in house.functions) == 1


def _largest(found: Iterable[tuple[int, str]]) -> Measure:
    return Measure(*max(found, default=(0, "")))


# ── files ────────────────────────────────────────────────────────────────────────────────────


def largest_file(house: House) -> Measure:
    """Largest file in lines."""
    return _largest((file.lines, file.path) for file in house.src.values())


def large_files(house: House) -> Measure:
    """Files over 400 lines."""
    return Measure(sum(file.lines > 400 for file in house.src.values()))


def source_lines(house: House) -> Measure:
    """Lines of src."""
    return _lines(house.src)


def test_lines(house: House) -> Measure:
    """Lines of tests."""
    return _lines(house.tests)


def benchmark_lines(house: House) -> Measure:
    """Lines of benchmarks."""
    return _lines(house.benchmarks)


def _lines(files: dict[str, File]) -> Measure:
    return Measure(sum(file.lines for file in files.values()))


# ── tests and benchmarks ─────────────────────────────────────────────────────────────────────


def tests_importing_tests(house: House) -> Measure:
    """Test files that import another test file."""
    tests = {file.name.rpartition(".")[2] for file in house.test_files}
    return Measure(sum(bool(tests & _imported_names(file)) for file in house.test_files))


def _imported_names(file: File) -> set[str]:
    """Every part of every imported name."""
    return {
        part
        for module, name in file.imports.values()
        for part in (*module.split("."), name)
        if part
    }


def tests_at_the_root(house: House) -> Measure:
    """Test files at the root of tests."""
    return Measure(sum("/" not in file.path for file in house.test_files))


def path_changes(house: House) -> Measure:
    """Uses of sys.path in benchmarks."""
    return Measure(
        sum(
            isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path"
            for file in house.benchmarks.values()
            for node in ast.walk(file.tree)
        )
    )


def test_names(house: House) -> Measure:
    """Median length of test names."""
    functions = (node for file in house.test_files for _, node, _ in file.functions)
    lengths = [len(node.name) for node in functions if node.name.startswith("test_")]
    return Measure(statistics.median(lengths or [0]))


# ── the command ──────────────────────────────────────────────────────────────────────────────

MEASURES: list[Callable[[House], Measure]] = [
    loose_modules,
    packages,
    import_floors,
    unit_circles,
    source_circles,
    benchmark_circles,
    most_parameters,
    most_parameters_inside,
    many_parameters,
    longest_body,
    long_bodies,
    positional_calls,
    largest_file,
    large_files,
    source_lines,
    test_lines,
    benchmark_lines,
    tests_importing_tests,
    tests_at_the_root,
    path_changes,
    test_names,
]
"""The rows of the table; a function's docstring is the title of its row."""


def measure(root: Path) -> dict[str, Measure]:
    """Title → number, of the tree in a folder."""
    house = House(root)
    return {str(function.__doc__).rstrip("."): function(house) for function in MEASURES}


def measure_commit(revision: str) -> dict[str, Measure]:
    """The same of a commit, unpacked into a temporary folder."""
    archive = subprocess.run(
        ["git", "archive", revision, "src", "tests", "benchmarks"],  # noqa: S607
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        return measure(Path(folder))


def table(columns: dict[str, dict[str, Measure]]) -> str:
    """The Markdown table: a row for each title, a column for each tree."""
    rows = [["", *columns], ["---", *("--:" for _ in columns)]]
    titles = next(iter(columns.values()))
    rows += [[title, *(str(column[title]) for column in columns.values())] for title in titles]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def exceeded(measured: dict[str, Measure]) -> list[str]:
    """What exceeds its limit, one line each."""
    return [
        f"{title}: {measured[title]}; the limit is {limit:g}."
        for title, limit in LIMITS.items()
        if measured[title].value > limit
    ]


def main() -> int:
    """Measure, and print the table or what exceeds."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--tree", metavar="REV", help="measure this commit as well")
    parser.add_argument("--check", action="store_true", help="only compare with the limits")
    given = parser.parse_args()
    now = measure(ROOT)
    if given.check:
        faults = exceeded(now)
        sys.stdout.write("".join(f"{fault}\n" for fault in faults))
        return int(bool(faults))
    before = {given.tree: measure_commit(given.tree)} if given.tree else {}
    sys.stdout.write(table({**before, "now": now}))
    return int(now["Circles between root modules and packages"].value > 0)


if __name__ == "__main__":
    sys.exit(main())
