"""Read Python files without running them: definitions, imports and import cycles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef
Graph = dict[str, set[str]]


@dataclass(frozen=True)
class File:
    """One Python file; `name` is its dotted name, relative to the folder that was read."""

    path: str
    name: str
    text: str
    is_package: bool

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        """The number of lines."""
        return self.text.count("\n")

    @cached_property
    def definitions(self) -> dict[str, Definition]:
        """The functions and classes at the top level of the file."""
        return {node.name: node for node in self.tree.body if isinstance(node, Definition)}

    @cached_property
    def functions(self) -> list[tuple[str, Function, bool]]:
        """Every function, also nested ones: qualified name, node, whether it is a method."""
        return list(_functions(self.tree, "", in_class=False))

    @cached_property
    def imported(self) -> list[tuple[str, str]]:
        """Every import, also inside functions: (module, name in it or an empty text)."""
        return [(module, name) for _, module, name in self._imports()]

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """Each name that an import binds → (module, name in it or an empty text)."""
        return {bound: (module, name) for bound, module, name in self._imports()}

    def _imports(self) -> Iterator[tuple[str, str, str]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.asname or alias.name, alias.name, ""
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield alias.asname or alias.name, self._source(node), alias.name

    def _source(self, node: ast.ImportFrom) -> str:
        """The absolute name of the module that `from … import` reads."""
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*parts, *([node.module] if node.module else [])])


def _functions(
    node: ast.AST, prefix: str, *, in_class: bool
) -> Iterator[tuple[str, Function, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield f"{prefix}{child.name}", child, in_class
        is_class = isinstance(child, ast.ClassDef)
        inner = f"{prefix}{child.name}." if isinstance(child, Definition) else prefix
        in_same_class = in_class and not isinstance(child, Definition)
        yield from _functions(child, inner, in_class=is_class or in_same_class)


def read(folder: Path, package: str = "") -> dict[str, File]:
    """The Python files below a folder, by dotted name."""
    files: dict[str, File] = {}
    for path in sorted(folder.rglob("*.py")):
        relative = path.relative_to(folder)
        is_package = relative.name == "__init__.py"
        parts = relative.parent.parts if is_package else relative.with_suffix("").parts
        name = ".".join((package, *parts) if package else parts)
        files[name] = File(str(relative), name, path.read_text("utf-8"), is_package)
    return files


def find_module(files: dict[str, File], importer: str, module: str, *, scripts: bool) -> str | None:
    """The file that an import refers to; scripts also import from their own and the top folder."""
    folder, top = importer.rpartition(".")[0], importer.partition(".")[0]
    candidates = (module, f"{folder}.{module}", f"{top}.{module}") if scripts else (module,)
    return next((name for name in candidates if name in files), None)


def resolve(files: dict[str, File], module: str, name: str, depth: int = 5) -> Definition | None:
    """The function or class that a name in a module refers to, following re-exports."""
    file = files[module]
    if name in file.definitions:
        return file.definitions[name]
    source, original = file.imports.get(name, ("", ""))
    if depth and original and source in files:
        return resolve(files, source, original, depth - 1)
    return None


def import_graph(files: dict[str, File], *, scripts: bool = False) -> Graph:
    """The files that each file imports; `from package import name` may import a module."""
    graph: Graph = {name: set() for name in files}
    for file in files.values():
        for module, name in file.imported:
            for candidate in (f"{module}.{name}", module):
                target = find_module(files, file.name, candidate, scripts=scripts)
                if target:
                    graph[file.name] |= {target} - {file.name}
                    break
    return graph


def cycles(graph: Graph) -> list[list[str]]:
    """The groups of nodes that reach each other."""
    reach = {node: _reached(graph, node) for node in graph}
    groups = {
        tuple(sorted(other for other in reach[node] if node in reach[other]))
        for node in graph
        if node in reach[node]
    }
    return [list(group) for group in sorted(groups)]


def _reached(graph: Graph, start: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting.extend(graph[node])
    return reached


def longest_path(graph: Graph) -> list[str]:
    """The longest chain of imports, from the top down; a cycle counts as one node."""
    first = {node: group[0] for group in cycles(graph) for node in group}
    merged: Graph = {first.get(node, node): set() for node in graph}
    for node, uses in graph.items():
        merged[first.get(node, node)] |= {first.get(use, use) for use in uses}
    paths: dict[str, list[str]] = {}

    def path(node: str) -> list[str]:
        if node not in paths:
            below = (path(use) for use in sorted(merged[node] - {node}))
            paths[node] = [node, *max(below, key=len, default=[])]
        return paths[node]

    return max((path(node) for node in sorted(merged)), key=len, default=[])


def arguments(function: Function) -> list[ast.arg]:
    """Every parameter of a function, including `self`."""
    spec = function.args
    stars = [star for star in (spec.vararg, spec.kwarg) if star]
    return [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *stars]


def parameters(function: Function, is_method: bool) -> int:
    """The number of parameters of a function, without `self`."""
    decorators = {ast.unparse(decorator) for decorator in function.decorator_list}
    return len(arguments(function)) - (is_method and "staticmethod" not in decorators)


def body_lines(function: Function) -> int:
    """The number of lines below a function's signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0
