"""The script that measures the source tree, on small trees with known numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / ".ci"

TREE = {
    "src/scorecam/__init__.py": '__all__ = ["explain"]\nfrom scorecam.front import explain\n',
    "src/scorecam/__main__.py": "import scorecam.front\n",
    "src/scorecam/front.py": (
        "import io\n"
        "from scorecam.io import read\n\n\n"
        "def explain(a, b, c, d, e, f, g, h, i, *, j):\n"
        "    return read(a, b, c, d, e), read(a, *b), print(a, b, c, d, e)\n"
    ),
    "src/scorecam/io/__init__.py": "from scorecam.io.files import read\n",
    "src/scorecam/io/files.py": (
        "def read(a, b, c, d, e):\n"
        '    """Not counted."""\n'
        "    from scorecam import errors\n"
        "    return errors\n"
    ),
    "src/scorecam/errors.py": "",
    "tests/test_root.py": "import test_deep\n\ndef test_one():\n    pass\n",
    "tests/deep/test_deep.py": "import helper\n\ndef test_three():\n    pass\n",
    "tests/helper.py": "import test_root\n",
    "benchmarks/one.py": "import sys\nimport two\nsys.path.insert(0, '.')\n",
    "benchmarks/two.py": "from one import x\n",
}
"""A module at the root imports a package, which imports another module at the root."""

EXPECTED = {
    "Modules at the root": "2",
    "Packages": "1",
    "Import floors": "3 (front → io → errors)",
    "Import cycles between root modules and packages": "0",
    "Import cycles between files of src": "0",
    "Import cycles between files of benchmarks": "1 (benchmarks.one ↔ benchmarks.two)",
    "Most parameters": "10 (front.explain)",
    "Most parameters of internal functions": "5 (io.files.read)",
    "Functions over 8 parameters": "1",
    "Longest body in lines": "2 (io.files.read)",
    "Bodies over 40 lines": "0",
    "Calls with over 4 positional arguments": "1",
    "Largest file in lines": "6 (front.py)",
    "Test files that import another test file": "1",
    "Test files at the root of tests": "1",
    "Uses of sys.path in benchmarks": "1",
    "Median length of test names": "9",
}


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    for name in ("house", "sources"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import house

    return house


def write_tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


def test_a_known_tree_has_the_known_numbers(house: Any, tmp_path: Path) -> None:
    measured = house.measure(write_tree(tmp_path, TREE))
    assert {title: str(measured[title]) for title in EXPECTED} == EXPECTED


def test_imports_for_type_checking_count_as_imports(house: Any, tmp_path: Path) -> None:
    closing = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import scorecam.front\n"
    measured = house.measure(write_tree(tmp_path, TREE | {"src/scorecam/errors.py": closing}))
    assert (
        str(measured["Import cycles between root modules and packages"])
        == "1 (errors ↔ front ↔ io)"
    )
    assert measured["Import floors"].value == 1


def test_every_limit_belongs_to_a_measure(house: Any, tmp_path: Path) -> None:
    measured = house.measure(write_tree(tmp_path, TREE))
    assert house.LIMITS.keys() <= measured.keys()


def test_a_number_above_its_limit_is_reported(house: Any, tmp_path: Path) -> None:
    measured = house.measure(write_tree(tmp_path, TREE))
    faults = house.exceeded(measured)
    assert "Test files that import another test file: 1; the limit is 0." in faults
    assert not any(fault.startswith("Packages") for fault in faults)
