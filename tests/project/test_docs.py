"""Examples in the documentation run, and the files and names it mentions exist.

The pretrained network is replaced by a small one with the same input and classes; the real one
explains the bundled photo in test_packaging.py.
"""

from __future__ import annotations

import ast
import itertools
import pkgutil
import re
import shlex
import shutil
import tomllib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import scorecam
from command_line import scorecam as command
from scorecam import cam
from scorecam.backends import opening
from scorecam.backends.opener import Opener
from scorecam.backends.pytorch.opening import Built, torch_model
from scorecam.bank import health
from scorecam.cli.app import app
from scorecam.model.labels import imagenet

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    flags = re.DOTALL | re.MULTILINE
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), flags)


@pytest.fixture
def small_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every model name opens a small ImageNet network; the current folder holds a photo."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 9, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 1000),
    )  # fmt: skip
    built = Built(network, scorecam.Preprocess.lite(224), imagenet())
    small = Opener(
        "any",
        takes=lambda given: isinstance(given, str),
        open=lambda spec, options: torch_model(built, spec, options),
    )
    monkeypatch.setattr(opening, "OPENERS", (small, *opening.OPENERS))
    monkeypatch.chdir(tmp_path)
    with resources.as_file(resources.files("scorecam").joinpath("data/chelsea.jpg")) as photo:
        shutil.copy(photo, "cat.jpg")
        Path("photos/tabby").mkdir(parents=True)
        shutil.copy(photo, "photos/tabby/chelsea.jpg")
    return tmp_path


def residual() -> nn.Module:
    """A small replacement for the ResNet of the "coming from" pages; it has a `layer4`."""
    stem = nn.Sequential(nn.Conv2d(3, 6, 3, stride=4, padding=1), nn.ReLU())
    block = nn.Sequential(nn.Conv2d(6, 12, 3, padding=1), nn.ReLU())
    network = nn.Sequential()
    network.add_module("stem", stem)
    network.add_module("layer4", nn.Sequential(block))
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("fc", nn.Linear(12, 1000))
    return network.eval()


RUNNABLE = [page for page in PAGES if page.stem != "extending"]  # its recipes change the package


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.stem)
@pytest.mark.usefixtures("small_network")
def test_the_python_examples_of_a_page_run(page: Path) -> None:
    names = {
        "network": residual(),
        "input_tensor": torch.randn(1, 3, 64, 48),
        "images": torch.randn(2, 3, 64, 48),
        "rgb_img": np.random.default_rng(0).random((64, 48, 3), np.float32),
    }

    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.needs("eval", "plot")
@pytest.mark.usefixtures("small_network")
def test_the_commands_in_the_readme_run() -> None:
    lines = [line for block in blocks(ROOT / "README.md", "console") for line in block.splitlines()]
    commands = [
        shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ scorecam")
    ]
    command("explain", "cat.jpg", "--out", "saved")
    shutil.copy("saved/cat.safetensors", "cat.safetensors")

    assert len(commands) >= 4
    for _, *words in commands:
        expanded = [
            name for word in words for name in sorted(map(str, Path().glob(word))) or [word]
        ]
        force = ["--force"] if "explain" in expanded else []
        answer = command(*expanded, *force)
        assert answer.code == 0, (words, answer)


def test_every_relative_link_leads_to_a_file() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_every_variant_and_every_note_is_documented() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    notes = (ROOT / "docs/health.md").read_text("utf-8")

    assert [name for name in cam.VARIANTS if f"`{name}`" not in readme] == []
    assert [code for code in health.RULES if f"`{code}`" not in notes] == []


def test_the_readme_states_the_formulas_of_the_code() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")

    for variant in cam.VARIANTS.values():
        assert variant.formula in readme


def design() -> str:
    return (ROOT / "docs/design.md").read_text("utf-8")


def floors() -> list[set[str]]:
    """The rooms of each floor in the import contract, from the top down."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    [contract] = config["tool"]["importlinter"]["contracts"]
    return [set(layer.split(" | ")) for layer in contract["layers"]]


def test_the_architecture_page_has_a_line_for_every_room() -> None:
    tree = ROOT / "src/scorecam"
    rooms = {path.stem for path in tree.glob("*.py") if not path.name.startswith("__")}
    rooms |= {path.parent.name for path in tree.glob("*/__init__.py")}

    assert set(re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|`]+ \|$", design(), re.MULTILINE)) == rooms


def test_the_picture_of_the_house_is_the_import_contract() -> None:
    [picture] = blocks(ROOT / "docs/design.md", "mermaid")
    arrows = [
        [set(side.split(" & ")) for side in line.strip().split(" --> ")]
        for line in picture.splitlines()[1:]
    ]

    assert arrows == [list(pair) for pair in itertools.pairwise(floors())]


def test_each_hop_of_the_walk_goes_down_and_its_names_exist() -> None:
    hops = re.findall(r"^\| \d+ \| `([\w.]+)` \| `([\w.]+)` \|", design(), re.MULTILINE)
    floor = {room: number for number, rooms in enumerate(floors()) for room in rooms}

    assert 8 <= len(hops) <= 12
    for caller, called in hops:
        assert floor[caller.partition(".")[0]] < floor[called.partition(".")[0]], (caller, called)
        for name in (caller, called):
            assert pkgutil.resolve_name(f"scorecam.{name}"), name


def defined_names() -> set[str]:
    """Every name that the package defines: modules, classes, functions, arguments, variables."""
    names: set[str] = set()
    for file in (ROOT / "src/scorecam").rglob("*.py"):
        names |= {file.stem, file.parent.name}
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return names


def test_every_name_in_the_glossary_is_in_the_code() -> None:
    page = (ROOT / "docs/glossary.md").read_text("utf-8")
    cells = re.findall(r"^\| \w.* \| .+ \| (`.*`) \|$", page, re.MULTILINE)
    names = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}

    assert len(names) > 70
    assert names - defined_names() == set()


def test_every_term_in_the_glossary_is_defined_once() -> None:
    page = (ROOT / "docs/glossary.md").read_text("utf-8")
    rows = re.findall(r"^\| (\w[^|]*) \| ", page, re.MULTILINE)
    terms = [term for row in rows if row != "term" for term in row.split(", ")]

    assert len(terms) > 70
    assert sorted(terms) == sorted(set(terms))


def test_every_option_of_every_command_has_help() -> None:
    commands = [entry.callback.__name__ for entry in app.registered_commands]

    assert commands == [
        "demo",
        "explain",
        "show",
        "layers",
        "evaluate",
        "sanity",
        "compare",
        "audit",
        "check",
        "export",
        "verify",
        "doctor",
        "cache",
    ]
    for name in commands:
        answer = command(name, "--help")
        assert answer.code == 0
        options = [line for line in answer.out.splitlines() if line.strip().startswith("--")]
        assert options
        for line in options:
            assert re.search(r"--[a-z-]+(\s+[A-Z]+)?\s{2,}\S|--[a-z-]+.*\s{2,}\S", line), line


def test_the_health_rules_are_documented_in_measure() -> None:
    """The docstring of `measure` defines the number behind each rule."""
    described = health.measure.__doc__ or ""

    assert [code for code in health.RULES if f"{code}:" not in described] == []
