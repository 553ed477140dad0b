"""Measure the structure of the source: its tree, imports, functions, tests and benchmarks.

    python .ci/house.py               # a Markdown table for this working tree
    python .ci/house.py --tree REV    # with a first column for that commit
    python .ci/house.py --check       # exit with 1 if a number exceeds its limit

Only the standard library is needed, so any Python from 3.11 on can run it. With import cycles
between root modules and packages the exit code is always 1: the number of floors is then undefined.
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

from recipes import files_per_recipe
from sources import (
    Definition,
    File,
    Function,
    Graph,
    arguments,
    body_lines,
    cycles,
    import_graph,
    longest_path,
    parameters,
    read,
    resolve,
)

ROOT = Path(__file__).parents[1]
PACKAGE = "scorecam"

LIMITS: dict[str, float] = {
    "Modules at the root": 8,
    "Packages": 19,
    "Import floors": 12,
    "Import cycles between root modules and packages": 0,
    "Import cycles between files of src": 0,
    "Import cycles between files of benchmarks": 0,
    "Most parameters": 21,
    "Most parameters of internal functions": 8,
    "Functions over 8 parameters": 9,
    "Longest body in lines": 40,
    "Bodies over 40 lines": 0,
    "Calls with over 4 positional arguments": 0,
    "Largest file in lines": 400,
    "Files over 400 lines": 0,
    "Test files that import another test file": 0,
    "Test files at the root of tests": 0,
    "Uses of sys.path in benchmarks": 0,
    "Median length of test names": 60,
}
"""The largest numbers that `--check` accepts; lower a limit when its number falls."""


@dataclass(frozen=True)
class Measure:
    """A number, and the place with the largest value or the list of places."""

    value: float
    where: str = ""

    def __str__(self) -> str:
        return f"{self.value:g} ({self.where})" if self.where else f"{self.value:g}"


@dataclass(frozen=True)
class SourceTree:
    """The three measured folders: src, tests and benchmarks."""

    root: Path

    @cached_property
    def src(self) -> dict[str, File]:
        """The files of the package, by module name."""
        return read(self.root / "src" / PACKAGE, PACKAGE)

    @cached_property
    def tests(self) -> dict[str, File]:
        """Every Python file below tests, including helpers."""
        return read(self.root / "tests", "tests")

    @property
    def test_files(self) -> list[File]:
        """The files that pytest collects."""
        return [file for file in self.tests.values() if Path(file.path).name.startswith("test_")]

    @cached_property
    def benchmarks(self) -> dict[str, File]:
        """The benchmark scripts."""
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
    def public_functions(self) -> set[ast.AST]:
        """The functions users call: the names in `__all__` with their methods, and the commands."""
        public: set[ast.AST] = set()
        for name in _exported(self.src[PACKAGE]):
            node = resolve(self.src, PACKAGE, name)
            if node:
                public.update(ast.walk(node) if isinstance(node, ast.ClassDef) else [node])
        for file in self.src.values():
            if file.name.startswith(f"{PACKAGE}.cli"):
                public.update(node for node in file.definitions.values() if _is_command(node))
        return public


def _exported(file: File) -> list[str]:
    for node in file.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def _is_command(node: Definition) -> bool:
    """Whether a function is a command: only commands have command-line options."""
    if not isinstance(node, Function) or node.name.startswith("_"):
        return False
    annotations = [ast.unparse(arg.annotation) for arg in arguments(node) if arg.annotation]
    return any("Option" in text or "Argument" in text for text in annotations)


# ── the tree ─────────────────────────────────────────────────────────────────────────────────


def root_modules(source: SourceTree) -> Measure:
    """Modules at the root."""
    return Measure(sum(not file.is_package for file in _root_units(source)))


def packages(source: SourceTree) -> Measure:
    """Packages."""
    return Measure(sum(file.is_package for file in _root_units(source)))


def _root_units(source: SourceTree) -> Iterator[File]:
    for file in source.src.values():
        if file.name.count(".") == 1 and not file.name.endswith("__main__"):
            yield file


def import_floors(source: SourceTree) -> Measure:
    """Import floors."""
    path = longest_path(_unit_graph(source))
    return Measure(len(path), " → ".join(path))


def unit_cycles(source: SourceTree) -> Measure:
    """Import cycles between root modules and packages."""
    return _cycles(_unit_graph(source))


def source_cycles(source: SourceTree) -> Measure:
    """Import cycles between files of src."""
    return _cycles(import_graph(source.src))


def benchmark_cycles(source: SourceTree) -> Measure:
    """Import cycles between files of benchmarks."""
    return _cycles(import_graph(source.benchmarks, scripts=True))


def _unit_graph(source: SourceTree) -> Graph:
    """The imports between root modules and packages, without the package itself and __main__."""

    def unit(module: str) -> str:
        return module.split(".")[1] if "." in module else PACKAGE

    units: Graph = {unit(module): set() for module in source.src}
    for module, imported in import_graph(source.src).items():
        units[unit(module)] |= {unit(other) for other in imported} - {unit(module)}
    left_out = {PACKAGE, "__main__"}
    return {name: uses - left_out for name, uses in units.items() if name not in left_out}


def _cycles(graph: Graph) -> Measure:
    groups = cycles(graph)
    return Measure(len(groups), "; ".join(" ↔ ".join(group) for group in groups))


# ── functions ────────────────────────────────────────────────────────────────────────────────


def most_parameters(source: SourceTree) -> Measure:
    """Most parameters."""
    return _largest((count, name) for name, count in source.functions.values())


def most_parameters_inside(source: SourceTree) -> Measure:
    """Most parameters of internal functions."""
    return _largest(
        (count, name)
        for node, (name, count) in source.functions.items()
        if node not in source.public_functions
    )


def many_parameters(source: SourceTree) -> Measure:
    """Functions over 8 parameters."""
    return Measure(sum(count > 8 for _, count in source.functions.values()))


def longest_body(source: SourceTree) -> Measure:
    """Longest body in lines."""
    return _largest((body_lines(node), name) for node, (name, _) in source.functions.items())


def long_bodies(source: SourceTree) -> Measure:
    """Bodies over 40 lines."""
    return Measure(sum(body_lines(node) > 40 for node in source.functions))


def positional_calls(source: SourceTree) -> Measure:
    """Calls with over 4 positional arguments."""
    return Measure(
        sum(
            _positional(node) > 4 and _is_own(source, file, node.func)
            for file in source.src.values()
            for node in ast.walk(file.tree)
            if isinstance(node, ast.Call)
        )
    )


def _positional(call: ast.Call) -> int:
    return sum(not isinstance(arg, ast.Starred) for arg in call.args)


def _is_own(source: SourceTree, file: File, called: ast.expr) -> bool:
    """Whether a call refers to a function, class or method of the package."""
    if isinstance(called, ast.Name):
        inner = any(
            node.name == called.id for _, node, is_method in file.functions if not is_method
        )
        return inner or resolve(source.src, file.name, called.id) is not None
    if not isinstance(called, ast.Attribute):
        return False
    if isinstance(called.value, ast.Name) and called.value.id in file.imports:
        origin, name = file.imports[called.value.id]
        module = f"{origin}.{name}" if name else origin
        return module in source.src and resolve(source.src, module, called.attr) is not None
    return sum(node.name == called.attr for node in source.functions) == 1


def _largest(values: Iterable[tuple[int, str]]) -> Measure:
    return Measure(*max(values, default=(0, "")))


# ── files ────────────────────────────────────────────────────────────────────────────────────


def largest_file(source: SourceTree) -> Measure:
    """Largest file in lines."""
    return _largest((file.lines, file.path) for file in source.src.values())


def large_files(source: SourceTree) -> Measure:
    """Files over 400 lines."""
    return Measure(sum(file.lines > 400 for file in source.src.values()))


def source_lines(source: SourceTree) -> Measure:
    """Lines of src."""
    return _lines(source.src)


def test_lines(source: SourceTree) -> Measure:
    """Lines of tests."""
    return _lines(source.tests)


def benchmark_lines(source: SourceTree) -> Measure:
    """Lines of benchmarks."""
    return _lines(source.benchmarks)


def _lines(files: dict[str, File]) -> Measure:
    return Measure(sum(file.lines for file in files.values()))


# ── tests and benchmarks ─────────────────────────────────────────────────────────────────────


def tests_importing_tests(source: SourceTree) -> Measure:
    """Test files that import another test file."""
    tests = {file.name.rpartition(".")[2] for file in source.test_files}
    return Measure(sum(bool(tests & _imported_names(file)) for file in source.test_files))


def _imported_names(file: File) -> set[str]:
    """Every part of every imported name."""
    return {
        part
        for module, name in file.imports.values()
        for part in (*module.split("."), name)
        if part
    }


def tests_at_the_root(source: SourceTree) -> Measure:
    """Test files at the root of tests."""
    return Measure(sum("/" not in file.path for file in source.test_files))


def path_changes(source: SourceTree) -> Measure:
    """Uses of sys.path in benchmarks."""
    return Measure(
        sum(
            isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path"
            for file in source.benchmarks.values()
            for node in ast.walk(file.tree)
        )
    )


def test_names(source: SourceTree) -> Measure:
    """Median length of test names."""
    functions = (node for file in source.test_files for _, node, _ in file.functions)
    lengths = [len(node.name) for node in functions if node.name.startswith("test_")]
    return Measure(statistics.median(lengths or [0]))


# ── the command ──────────────────────────────────────────────────────────────────────────────

MEASURES: list[Callable[[SourceTree], Measure]] = [
    root_modules,
    packages,
    import_floors,
    unit_cycles,
    source_cycles,
    benchmark_cycles,
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
"""The rows of the table; the docstring of a function is the title of its row."""


def measure(root: Path) -> dict[str, Measure]:
    """Title → measure, for the tree in a folder."""
    source = SourceTree(root)
    measured = {str(function.__doc__).rstrip("."): function(source) for function in MEASURES}
    recipes = files_per_recipe(root).items()
    return measured | {f"Files for a recipe: {title}": Measure(count) for title, count in recipes}


def measure_commit(revision: str) -> dict[str, Measure]:
    """The same for a commit, unpacked into a temporary folder."""
    archive = subprocess.run(
        ["git", "archive", revision, "src", "tests", "benchmarks", "docs"],  # noqa: S607
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        return measure(Path(folder))


def table(columns: dict[str, dict[str, Measure]]) -> str:
    """The Markdown table: one row per title, one column per tree."""
    rows = [["", *columns], ["---", *("--:" for _ in columns)]]
    titles = dict.fromkeys(title for column in columns.values() for title in column)
    rows += [
        [title, *(str(column.get(title, "–")) for column in columns.values())] for title in titles
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def exceeded(measured: dict[str, Measure]) -> list[str]:
    """One line for each number that exceeds its limit."""
    return [
        f"{title}: {measured[title]}; the limit is {limit:g}."
        for title, limit in LIMITS.items()
        if measured[title].value > limit
    ]


def main() -> int:
    """Measure, and print the table or the exceeded limits."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--tree", metavar="REV", help="measure this commit as well")
    parser.add_argument("--check", action="store_true", help="only compare with the limits")
    options = parser.parse_args()
    now = measure(ROOT)
    if options.check:
        faults = exceeded(now)
        sys.stdout.write("".join(f"{fault}\n" for fault in faults))
        return int(bool(faults))
    before = {options.tree: measure_commit(options.tree)} if options.tree else {}
    sys.stdout.write(table({**before, "now": now}))
    return int(now["Import cycles between root modules and packages"].value > 0)


if __name__ == "__main__":
    sys.exit(main())
