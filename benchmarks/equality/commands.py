"""Cases of the command line, most with `--json`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from out import Out

PHOTOS = "../../photos"
PHOTO = f"{PHOTOS}/chelsea.jpg"
SIZE = ("--preprocess", f"{PHOTOS}/preprocess.json")
SIDES = ("networks:by_colour,runtime=eager", "networks:by_colour,runtime=eager,precision=bfloat16")
SMALL = ("--model", "networks:small", *SIZE)
COLOUR = ("--model", "networks:by_colour", *SIZE, "--labels", f"{PHOTOS}/labels.txt")
LIST = f"list:{PHOTOS}/colours/list.csv"
EAGER = ("--runtime", "eager")
FAST = ("--runtime", "openvino", "--budget", "fast")
# Not guided, which is for networks with nn.ReLU alone. Not rise and occlusion: `explain` lets the
# clock choose what runs them, whatever --runtime says. `evaluate` does not, so they are there.
METHODS = (
    "scorecam,scorecam:variant=algorithm1,scorecam:variant=consensus,gradcam,gradcam++,xgradcam,"
    "layercam,gradient,smoothgrad:samples=3,integrated:steps=4,mask:steps=3,"
    "uniform,random,centre,edges,fakecam"
)


def explain(out: Out) -> None:
    """lite0: several photos and targets, one photo broken; every method side by side."""
    photos = (PHOTO, f"{PHOTOS}/left.png", f"{PHOTOS}/broken.jpg")
    targets = ("--target", "tabby", "--target", "Egyptian cat")
    out.expect("photos", 1, "explain", *photos, *targets, *FAST, "--out", "photos", "--json")
    methods = ("--methods", METHODS)
    out.expect("methods", 0, "explain", PHOTO, *methods, *FAST, "--out", "methods", "--json")
    top = ("--target", "top5", "--variant", "algorithm1", "--budget", "12", "--seed", "3")
    out.expect("top", 0, "explain", PHOTO, *top, *EAGER, "--out", "top", "--json")


def explain_small(out: Out) -> None:
    """A network of the user's own: exact, at every layer."""
    for layer in ("first", "second", "relu"):
        more = ("--layer", layer, "--methods", f"guided,{METHODS}", "--out", layer, "--json")
        out.expect(layer, 0, "explain", PHOTO, *SMALL, *EAGER, *more)


def show(out: Out) -> None:
    out.expect("explain", 0, "explain", PHOTO, *FAST, "--out", "made", "--json")
    for variant in ("official", "increase"):
        more = ("--target", "tabby", "--variant", variant, "--out", f"{variant}.png")
        out.expect(variant, 0, "show", "made/chelsea.safetensors", *more)


def layers(out: Out) -> None:
    out.expect("lite0", 0, "layers", "--json")
    out.expect("small", 0, "layers", *SMALL, "--json")


def check(out: Out) -> None:
    photos = (PHOTO, f"{PHOTOS}/left.png")
    out.expect("lite0", 0, "check", *photos, "--runtime", "openvino", "--json")
    out.expect("small", 0, "check", PHOTO, *COLOUR, *EAGER, "--budget", "exact", "--json")


def evaluate(out: Out) -> None:
    """Photos with boxes: all measures, banks kept, every method, one run in two shards."""
    how = (*COLOUR, *EAGER, "--methods", "scorecam,gradcam,random", "--metrics", "all")
    out.expect("run", 0, "evaluate", LIST, *how, "--banks", "--out", "run", "--json")
    methods = f"rise:masks=24,occlusion:window=0.3:stride=0.2,guided,{METHODS}"
    more = ("--limit", "3", "--metrics", "quick", "--no-gallery", "--out", "methods", "--json")
    out.expect("methods", 0, "evaluate", LIST, *SMALL, *EAGER, "--methods", methods, *more)
    few = (*COLOUR, *EAGER, "--limit", "6", "--seed", "2", "--metrics", "quick", "--single")
    for shard in ("1/2", "2/2"):
        more = ("--shard", shard, "--out", "shards", "--no-gallery", "--json")
        out.expect(shard, 0, "evaluate", LIST, *few, *more)


def evaluate_lite0(out: Out) -> None:
    """A folder of class folders, with a reduced budget."""
    how = (*FAST, "--methods", "scorecam,scorecam:variant=algorithm1,edges", "--metrics", "quick")
    out.expect("run", 0, "evaluate", f"{PHOTOS}/cats", *how, "--out", "run", "--json")


def sanity(out: Out) -> None:
    photos = (f"{PHOTOS}/chelsea.jpg", f"{PHOTOS}/left.png")
    out.expect("small", 0, "sanity", *photos, *SMALL, *EAGER, "--out", "small", "--json")


def compare(out: Out) -> None:
    how = (*COLOUR[2:], "--budget", "exact", "--json")
    pooled = f"{SIDES[0]},layer=pool"
    out.expect("close", 0, "compare", *SIDES, LIST, *how, "--out", "close")
    out.expect("pooled", 0, "compare", SIDES[0], pooled, LIST, *how, "--out", "pooled")
    gate = ("--fail-under", "similarity=0.999999", "--limit", "5", "--out", "gate")
    out.expect("gate", 3, "compare", SIDES[0], pooled, LIST, *how, *gate)


def audit(out: Out) -> None:
    run = "../evaluate/run"
    Path("lite0").mkdir()
    out.expect("audit", 0, "audit", run, "--out", "report.html", "--json")
    out.expect("gradcam", 0, "audit", run, "--method", "gradcam", "--json")
    out.expect("lite0", 0, "audit", "../evaluate_lite0/run", "--out", "lite0/report.html", "--json")
    if not json.loads(Path("audit.json").read_text("utf-8"))["items"]:
        raise AssertionError("The audit found nothing, so it compares nothing.")


def verify(out: Out) -> None:
    """Sound folders and banks, and a run with a damaged map, a lost record and an edited one."""
    out.expect("run", 0, "verify", "../evaluate/run", "--json")
    out.expect("sanity", 0, "verify", "../sanity/small", "--json")
    out.expect("compare", 0, "verify", "../compare/close", "--json")
    out.expect("bank", 0, "verify", "../show/made/chelsea.safetensors", "--json")
    shutil.copytree("../evaluate/run", "damaged")
    records = sorted(Path("damaged/items/scorecam").glob("*/*.json"))
    records[0].unlink()
    edited = json.loads(records[1].read_text("utf-8"))
    edited["values"] = dict.fromkeys(edited["values"], 0.5)
    records[1].write_text(json.dumps(edited), "utf-8")
    sorted(Path("damaged/maps/gradcam").glob("*/*.npy"))[2].write_bytes(b"damaged")
    out.expect("damaged", 1, "verify", "damaged", "--json")
    shutil.rmtree("damaged")


def exit_codes(out: Out) -> None:
    """Bad input of many kinds; only the codes."""
    Path("text.json").write_text('["no bank"]', "utf-8")
    Path("full").mkdir()
    Path("full/chelsea.json").write_text("{}", "utf-8")
    few = (*SMALL, *EAGER)
    for name, code, *argv in (
        ("no photo", 2, "explain", "missing.jpg", *few),
        ("broken photo", 2, "explain", f"{PHOTOS}/broken.jpg", *few),
        ("class", 2, "explain", PHOTO, *few, "--target", "99"),
        ("layer", 2, "explain", PHOTO, *few, "--layer", "missing"),
        ("model", 2, "explain", PHOTO, "--model", "networks:missing"),
        ("weights", 2, "explain", PHOTO, *few, "--weights", "text.json"),
        ("budget", 2, "explain", PHOTO, *few, "--budget", "none"),
        ("variant", 2, "explain", PHOTO, *few, "--variant", "officiall"),
        ("method", 2, "explain", PHOTO, *few, "--methods", "scorecam,rise:masks=0"),
        ("preprocess", 2, "explain", PHOTO, "--model", "networks:small"),
        ("overwrite", 2, "explain", PHOTO, *few, "--out", "full"),
        ("bank", 2, "show", "text.json"),
        ("run", 2, "audit", "full"),
        ("neither", 2, "verify", "full"),
        ("metric", 2, "evaluate", LIST, *COLOUR, "--metrics", "missing", "--out", "run"),
        ("data set", 2, "evaluate", "missing", *COLOUR, "--out", "run"),
        ("gate", 2, "compare", "lite0", "lite0", LIST, "--out", "c", "--fail-under", "speed=1"),
        ("rule", 2, "audit", "--explain", "missing"),
        ("option", 2, "explain", PHOTO, "--missing"),
        ("command", 2, "missing"),
    ):
        out.expect(name, code, *argv)
        out.values[f"{name} wrote"] = sorted(map(str, Path().rglob("*.safetensors")))
