"""The wheel, as a stranger gets it: what is inside, what it asks for, and that it runs alone."""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
CATS = {281, 282, 285}  # tabby, tiger cat, Egyptian cat: any of them is right for the bundled photo


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(PROJECT)], check=True, capture_output=True, text=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def stranger(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an empty environment into which the wheel was installed with its demo."""
    home = tmp_path_factory.mktemp("stranger")
    venv.create(home / "venv", with_pip=True)
    scripts = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pins = str(PROJECT / "constraints.txt")
    alone(scripts, "python", "-m", "pip", "install", "--quiet", "-c", pins, f"{wheel}[demo]")
    return scripts


def alone(scripts: Path, program: str, *arguments: str) -> str:
    """What a program of another environment prints, away from the checkout and our settings."""
    ours = ("PYTHON", "VIRTUAL_ENV", "PYTEST", "COVERAGE")
    outside = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [scripts / program, *arguments],
        cwd=scripts.parent,
        env=outside,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_the_data_the_licences_and_the_typing_marker(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {f"scorecam/{name}" for name in ("__init__.py", "cli.py", "py.typed")}
    data = {"chelsea.jpg", "imagenet_classes.txt", "README.md"}
    scripts = {f"{name}.js" for name in ("detail", "drawing", "gallery", "page")}
    page = {f"scorecam/page/{name}" for name in {"page.css", "page.html.jinja"} | scripts}
    assert package | page | {f"scorecam/data/{name}" for name in data} <= names
    licences = {name.rpartition("/")[2] for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def test_the_wheel_holds_nothing_but_the_package(wheel: Path) -> None:
    roots = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert roots == {"scorecam", "scorecam-0.1.0.dist-info"}


def test_the_core_asks_for_exactly_five_libraries(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(path))
    asked = metadata.get_all("Requires-Dist", [])
    core = {re.split(r"[^\w-]", line)[0].lower() for line in asked if "extra ==" not in line}
    assert core == {"torch", "numpy", "pillow", "safetensors", "typer"}


def test_a_thousand_classes_have_a_thousand_names_also_ignoring_case() -> None:
    text = (PROJECT / "src/scorecam/data/imagenet_classes.txt").read_text("utf-8")
    names = text.splitlines()
    assert len({name.casefold() for name in names}) == len(names) == 1000
    assert [names[i] for i in (0, 134, 282, 517, 999)] == [
        "tench",
        "crane (bird)",
        "tiger cat",
        "crane (machine)",
        "toilet tissue",
    ]


@pytest.mark.early
@pytest.mark.needs("registry")
@pytest.mark.timeout(900)
def test_a_stranger_installs_the_wheel_and_the_demo_explains_a_cat(
    stranger: Path, tmp_path: Path
) -> None:
    alone(stranger, "scorecam", "demo", "--out", str(tmp_path))
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".json", ".png", ".safetensors"]
    (record,) = tmp_path.glob("*.json")
    (item,) = json.loads(record.read_text("utf-8"))["items"]
    assert item["target"]["index"] in CATS


@pytest.mark.early
@pytest.mark.needs("registry")
@pytest.mark.timeout(900)
def test_a_stranger_gets_nothing_of_the_development_environment(stranger: Path) -> None:
    alone(stranger, "python", "-m", "pip", "check")
    listing = json.loads(alone(stranger, "python", "-m", "pip", "list", "--format", "json"))
    installed = {package["name"].lower() for package in listing}
    assert not installed & {"pytest", "hypothesis", "jaxtyping", "torchvision", "matplotlib"}
    where = alone(
        stranger, "python", "-c", "import scorecam, sys; print(scorecam.__file__, *sys.path)"
    )
    assert where.startswith(str(stranger.parent))
    assert str(PROJECT) not in where
