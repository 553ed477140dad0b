"""OpenVINO reports nothing, whoever imported it first; compiled files are in the cache folder."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

import scorecam
import watched_process
from scorecam.base import cache

SOURCE = Path(scorecam.__file__).parent

EXPLAINED = """
import torch, scorecam
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
).eval()
def explain(runtime):
    explanation = scorecam.explain(net, torch.rand(3, 32, 32), layer="1", runtime=runtime)
    assert explanation.provenance.runtime == runtime, found.provenance.remarks
"""

OWN_TELEMETRY = """
import openvino_telemetry
assert openvino_telemetry.Telemetry.__module__ == "openvino_telemetry.main"
import openvino_telemetry.backend.backend_ga4
"""

BEFORE = """
import os
os.environ["CI"] = "true"  # OpenVINO's own switch: importing it by hand must not send anything
import openvino_telemetry, openvino
os.environ["CI"] = "false"
openvino_telemetry.Telemetry(
    tid="x", app_name="OVC", app_version="1", backend="ga4", enable_opt_in_dialog=False
)
"""


@pytest.mark.needs("openvino")
@pytest.mark.parametrize(
    "first",
    [
        "",
        "import openvino_telemetry\n",
        "from scorecam.backends.runtimes.openvino import RUNTIME; assert RUNTIME.installed()\n",
        "from scorecam.backends.runtimes.choice import advice; advice()\n",
    ],
    ids=["nothing", "telemetry", "installed", "advice"],
)
def test_converting_sends_nothing_starts_nothing_and_writes_nothing(
    first: str, tmp_path: Path
) -> None:
    watched = watched_process.watch(
        f"{first}{EXPLAINED}explain('openvino')\n{OWN_TELEMETRY}",
        tmp_path,
        SCORECAM_CACHE=str(tmp_path / "cache"),
    )
    assert watched.code == 0, watched.out
    assert watched.connections() == []
    assert watched.processes() == []
    conversions = tmp_path / "cache" / "conversions"
    assert watched.writes_outside(tmp_path / "work", tmp_path / "cache") == []
    assert watched.strays == frozenset()
    assert [file.suffix for file in conversions.iterdir()] == [".conversion"]


@pytest.mark.needs("openvino")
def test_converting_sends_nothing_if_openvino_was_imported_before(
    tmp_path: Path,
) -> None:
    code = f"{BEFORE}{EXPLAINED}step('ours')\nexplain('openvino')\n{OWN_TELEMETRY}"
    watched = watched_process.watch(code, tmp_path, SCORECAM_CACHE_SIZE="0")
    assert watched.code == 0, watched.out
    assert [event for event in watched.events if event.step == "ours"] == []


@pytest.mark.needs("openvino")
def test_conversions_without_our_import_do_send_telemetry(tmp_path: Path) -> None:
    """Otherwise the tests above would prove nothing."""
    watched = watched_process.watch(
        "import openvino, time; time.sleep(1)", tmp_path, CI="", TF_BUILD=""
    )
    assert watched.processes()
    assert watched.strays


def test_one_function_imports_openvino() -> None:
    result = [
        f"{path.relative_to(SOURCE)}"
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if "openvino" in _imported(node)
    ]
    assert result == ["backends/runtimes/openvino.py"]


def _imported(node: ast.AST) -> set[str]:
    """The packages of others that a statement or call imports by name."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        names = [node.module or ""]
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
        ("import_module", "__import__", "require")
    ):
        names = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
    return {name for name in names if name.partition(".")[0] == name}


COMPILED = """
import os, torch
import torch._inductor.config as inductor
names = ("freezing", "compile_threads", "cpp_cache_precompile_headers")
before = [getattr(inductor, name) for name in names], os.environ.get("TORCHINDUCTOR_CACHE_DIR")
{explained}
explain("compile")
after = [getattr(inductor, name) for name in names], os.environ.get("TORCHINDUCTOR_CACHE_DIR")
assert before == after, (before, after)
"""


@pytest.mark.early
@pytest.mark.needs("compiler")
def test_compiled_code_is_in_the_cache_folder_or_the_users_folder(tmp_path: Path) -> None:
    code, own = COMPILED.format(explained=EXPLAINED), tmp_path / "own"
    theirs = watched_process.watch(code, tmp_path, TORCHINDUCTOR_CACHE_DIR=str(own))
    assert theirs.code == 0, theirs.out
    assert list(own.rglob("*.so"))
    assert theirs.writes_outside(own, tmp_path / "tmp") == []
    assert not any(".so" in stray for stray in theirs.strays)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SCORECAM_CACHE": "/a/b"}, "/a/b"),
        ({"SCORECAM_CACHE": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ({"SCORECAM_CACHE": "~/b"}, "/home/me/b"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/scorecam"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/scorecam"),
        ({"XDG_CACHE_HOME": ""}, "/home/me/.cache/scorecam"),
        ({}, "/home/me/.cache/scorecam"),
    ],
    ids=str,
)
def test_the_cache_folder_is_the_users_choice(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SCORECAM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(name, value)
    assert cache.cache_folder() == Path(os.path.normpath(expected))
