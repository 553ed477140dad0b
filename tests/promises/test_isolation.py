"""No command and no public call connects, starts a process or writes outside its folders.

Each runs with every extra installed, in a process that logs such events and refuses connections
(`watched_process.py`). So a library that a later extra adds is covered too.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

import watched_process
from command_line import furnish, options, picture

pytestmark = [
    pytest.mark.needs("audit", "demo", "eval", "openvino", "plot", "torchvision"),
    pytest.mark.early,
    pytest.mark.timeout(900),
]

TOY = " ".join(options(model="tiny"))
METHODS = (
    "scorecam,gradient,smoothgrad:samples=2,integrated:steps=2,occlusion,gradcam,gradcam++,xgradcam,"
    "layercam,rise:masks=9,mask:steps=3,uniform,random,centre,edges,fakecam"
)
COMMANDS = (
    "demo",
    f"explain cat.png {TOY} --runtime openvino --json --out o",
    f"explain cat.png {TOY} --budget fast --precision auto --out o2",
    f"explain cat.png {TOY} --out o3 --methods {METHODS}",
    "show o/cat.safetensors --out shown.png",
    "layers --model toy_models:tiny --preprocess preprocess.json",
    f"evaluate photos {TOY} --out run --methods scorecam,gradcam,random --metrics all --banks",
    f"evaluate photos {TOY} --out run --methods scorecam,gradcam,random --metrics all --banks",
    "audit run --out report.html",
    f"check cat.png {TOY}",
    f"sanity cat.png {TOY} --out sane --methods scorecam,gradcam",
    "compare lite0 lite0,precision=bfloat16 photos --out cmp --budget fast",
    "verify run",
    "doctor",
    "doctor --measure toy_models:tiny --preprocess preprocess.json cat.png",
    "cache --clear",
    "explain nowhere.png",
    "--help",
)

RUN_COMMANDS = """
import torchvision_ops; torchvision_ops.define()
from scorecam.cli.app import main
for line in json.loads(COMMANDS):
    step(line)
    sys.argv = ["scorecam", *line.split()]
    try:
        main()
    except SystemExit as end:
        print(f"[{end.code}] {line}")
"""

CALLS = """
import torchvision_ops; torchvision_ops.define()
from pathlib import Path
import torch, scorecam, scorecam.compat.pytorch_grad_cam, scorecam.compat.torchcam
import toy_models
net, x = toy_models.tiny(), torch.rand(1, 3, 16, 16)
step("open_model")
model = scorecam.open_model(
    net, preprocess="preprocess.json", labels="names.txt", device="cpu", head="logits")
scorecam.open_model("torchvision:mobilenet_v2", weights="random").fingerprint()
step("explain_pair"); scorecam.explain_pair(model, "cat.png", "cat.png")
for runtime in ("eager", "openvino", "auto"):
    step(f"explain {runtime}")
    explanation = scorecam.explain(model, "cat.png", runtime=runtime)
step("explanation")
explanation.overlay().save("overlay.png")
explanation.overlays().save("overlays.png"), explanation.pair(explanation).save("pair.png")
explanation.to_html("why.html")
explanation.top(2), explanation.of("lynx"), explanation.health
step("ScoreCAM")
with scorecam.ScoreCAM(net, budget=3) as cam:
    cam(x), cam.bank(x[0]).save("b.safetensors")
scorecam.ScoreBank.load("b.safetensors")
step("layers"); scorecam.layers(model)
step("files of numbers")
import numpy as np, nibabel, pydicom, tifffile
from array_files import write_dicom
numbers = np.random.default_rng(0).integers(0, 255, (3, 16, 16)).astype(np.uint8)
np.save("x.npy", numbers)
tifffile.imwrite("x.tif", numbers.repeat(2, 0), photometric="minisblack")
nibabel.save(nibabel.Nifti1Image(numbers.astype(np.float32), np.eye(4)), "x.nii.gz")
from scorecam.images.arrays.opening import read_array
write_dicom("x.dcm", numbers[0].astype(np.uint16))
for name in ("x.npy", "x.tif", "x.nii.gz", "x.dcm"):
    read_array(name)
step("sliding_window")
scorecam.explain(scorecam.sliding_window(scorecam.open_model(net), 16), torch.rand(3, 24, 24))
step("check"); scorecam.check(model, explanation)
step("evaluate"); scorecam.evaluate(model, "photos", "scorecam,gradcam", out="run")
step("sanity"); scorecam.sanity(model, "photos", "gradcam", out="sane")
step("compare"); scorecam.compare(
    ["lite0", "lite0,precision=bfloat16"], "photos", budget="fast", out="compared")
step("verify"); scorecam.verify("run")
step("export")
from onnx_heads import classifier
exported = scorecam.open_model(str(classifier(Path("net.onnx"))), preprocess="preprocess.json")
scorecam.export_with_map(exported, "photos", out="net.map.onnx")
step("compat")
scorecam.compat.pytorch_grad_cam.ScoreCAM(net, [net.body])(x)
"""

CALLED = {
    *("open_model", "explain", "explain_pair", "ScoreCAM", "layers"),
    *("check", "evaluate", "sanity", "compare", "verify", "sliding_window", "export_with_map"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with photos, a data set, and an empty cache folder."""
    work = tmp_path / "work"
    (work / "photos").mkdir(parents=True)
    (tmp_path / "cache").mkdir()
    furnish(work)
    for seed in range(3):
        picture(seed).save(work / "photos" / f"{seed}.png")
    return tmp_path


def check_isolated(watched: watched_process.Watched, root: Path) -> None:
    """No connection, no process, and files only in the working and the cache folder.

    Python itself writes a trial file to the temporary folder; nothing may remain there.
    """
    assert watched.connections() == []
    assert watched.processes() == []
    assert watched.writes_outside(root / "work", root / "cache", root / "tmp") == []
    assert watched.strays == frozenset()


def test_no_command_connects_starts_programs_or_writes_elsewhere(root: Path) -> None:
    code = f"COMMANDS = {json.dumps(COMMANDS)!r}\n{RUN_COMMANDS}"
    watched = watched_process.watch(code, root, SCORECAM_CACHE=str(root / "cache"))
    assert watched.code == 0, watched.out
    codes = [line.partition("]")[0] for line in watched.out.splitlines() if line.startswith("[")]
    assert codes == ["[0"] * 16 + ["[2", "[0"], watched.out
    check_isolated(watched, root)


def test_no_call_connects_starts_programs_or_writes_elsewhere(root: Path) -> None:
    watched = watched_process.watch(CALLS, root, SCORECAM_CACHE=str(root / "cache"))
    assert watched.code == 0, watched.out
    check_isolated(watched, root)


def test_every_public_function_is_called_here() -> None:
    import scorecam

    public = {name: getattr(scorecam, name) for name in scorecam.__all__}
    functions = {name for name, value in public.items() if type(value).__name__ == "function"}
    assert functions - {"scaled"} <= CALLED, "scaled is arithmetic; everything else is called here"
    assert all(f"{name}(" in CALLS for name in CALLED)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "connections"),
        ("import subprocess; subprocess.run(['true'])", "processes"),
        ("import os; os.fork() or os._exit(0)", "processes"),
        ("open(os.path.expanduser('~/x'), 'w')", "writes"),
        ("os.mkdir(os.path.expanduser('~/x'))", "writes"),
    ],
)
def test_each_kind_of_event_is_noticed(tmp_path: Path, code: str, kind: str) -> None:
    watched = watched_process.watch(code, tmp_path)
    noticed = {
        "connections": watched.connections(),
        "processes": watched.processes(),
        "writes": watched.writes_outside(tmp_path / "work"),
    }
    assert [name for name, events in noticed.items() if events] == [kind]


def test_the_compile_runtime_starts_only_the_compiler(root: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("there is no C++ compiler")
    code = """
import torch, scorecam, toy_models
scorecam.explain(toy_models.tiny(), torch.rand(1, 3, 16, 16), runtime="compile")
"""
    watched = watched_process.watch(code, root, SCORECAM_CACHE=str(root / "cache"))
    assert watched.code == 0, watched.out
    assert watched.connections() == []
    assert watched.writes_outside(root / "work", root / "cache", root / "tmp") == []
    programs = {
        event.subject.split("'")[1] for event in watched.processes() if "'" in event.subject
    }
    assert programs <= {"g++", sys.executable}, (
        "torch tests vector instructions in a Python process"
    )
