"""Values that users give by mistake, and every public call with one of them in each place."""

from __future__ import annotations

import inspect
import pathlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import scorecam
from command_line import PREPROCESS, picture
from scorecam.base.wording import LONGEST_PARAGRAPH
from scorecam.compat import official, pytorch_grad_cam, torchcam

SIDE = 16


class Unprintable:
    """An object whose `repr` fails, as those of half-built objects do."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def _quantised() -> torch.Tensor:
    scale = torch.tensor(0.1)
    return torch._make_per_tensor_quantized_tensor(
        torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8), float(scale), 0
    )


def tensors() -> dict[str, Any]:
    """Tensors and arrays, many of which are no images."""
    image = torch.rand(1, 3, SIDE, SIDE)
    return {
        "an empty tensor": torch.empty(0),
        "an empty batch": torch.empty(0, 3, SIDE, SIDE),
        "a tensor without axes": torch.tensor(3.0),
        "an integer tensor without axes": torch.tensor(1),
        "a boolean tensor": torch.tensor([True]),
        "raw pixels": torch.randint(0, 255, (1, 3, SIDE, SIDE), dtype=torch.uint8),
        "a double image": image.double(),
        "a half image": image.half(),
        "a complex image": torch.complex(image, image),
        "a sparse image": image.to_sparse(),
        "a meta image": image.to("meta"),
        "a quantised image": _quantised(),
        "an image that wants a gradient": image.clone().requires_grad_(),
        "an image with NaN": torch.full((1, 3, SIDE, SIDE), torch.nan),
        "a video": torch.rand(1, 5, 3, SIDE, SIDE),
        "two images": torch.rand(2, 3, SIDE, SIDE),
        "a parameter": nn.Parameter(image.clone()),
        "an array": np.random.default_rng(0).random((1, 3, SIDE, SIDE)),
        "a photo as an array": np.zeros((SIDE, SIDE, 3), np.uint8),
        "an array of objects": np.array([None, "x"], dtype=object),
        "an array of text": np.array(["a", "b"]),
        "an empty array": np.empty(0),
        "numpy's integer": np.int64(3),
        "numpy's float": np.float64(3.0),
        "numpy's boolean": np.bool_(1),
    }


def numbers() -> dict[str, Any]:
    return {
        "None": None,
        "True": True,
        "False": False,
        "0": 0,
        "-1": -1,
        "3": 3,
        "2**70": 2**70,
        "10**30": 10**30,
        "10**5000": 10**5000,
        "3.0": 3.0,
        "3.5": 3.5,
        "-0.5": -0.5,
        "1e3": 1e3,
        "NaN": float("nan"),
        "infinity": float("inf"),
        "a complex number": 1j,
    }


def texts() -> dict[str, Any]:
    return {
        "no text": "",
        "x": "x",
        "12": "12",
        "Fast": "Fast",
        "many": "many",
        "cuda:99": "cuda:99",
        "a long text": "long " * 8000,
        "a long word": "x" * 40_000,
        "a terminal's title": "\x1b]0;evil\x07\r\n\x9b2J\u202etxt\x08",
        "a lone surrogate": "\udcff",
        "half of a pair": "\ud800",
        "NUL": "\x00",
        "38 KB of bytes": b"\xff" * 38_000,
        "a byte array": bytearray(b"xy"),
        "a path": Path("nowhere/at/all.png"),
    }


def things() -> dict[str, Any]:
    return {
        "an empty list": [],
        "a list": [1],
        "a list of lists": [[1]],
        "a list of None": [None, None],
        "a long list": list(range(50_000)),
        "an empty tuple": (),
        "a tuple of text": ("a", "b"),
        "an empty dict": {},
        "a dict": {"a": 1},
        "a set": {1},
        "a frozen set": frozenset({"a"}),
        "a range": range(3),
        "an object": object(),
        "an object without repr": Unprintable(),
        "a function": lambda *_: None,
        "a function of nothing": lambda: None,
        "a class": int,
        "a module of Python": pathlib,
        "an exception": ValueError("x" * 10_000),
        "a PIL image": Image.new("RGB", (SIDE, SIDE)),
        "a list of photos": [Image.new("RGB", (SIDE, SIDE))],
        "a network": nn.Linear(2, 2),
        "a device": torch.device("cpu"),
        "a dtype": torch.float16,
        "a slice": slice(1, 2),
    }


def values() -> dict[str, Callable[[], Any]]:
    """Every wrong value by name, made anew each time; generators are used up when read."""
    made = {**numbers(), **texts(), **things(), **tensors()}
    found: dict[str, Callable[[], Any]] = {name: lambda v=value: v for name, value in made.items()}
    found["a generator"] = lambda: (number for number in (1, 2))
    found["an iterator of text"] = lambda: iter("ab")
    return found


# ── public calls ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Call:
    """A public callable, and arguments with which it works.

    Args:
        function: what is called; a method is bound.
        given: by name; what is not given has its default.
        names: the parameters, each of which is tried.
    """

    function: Callable[..., Any]
    given: Mapping[str, Any]
    names: tuple[str, ...]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 5),
    ).eval()  # fmt: skip


def furnish(folder: Path) -> None:
    """A photo, in the folder in which all calls are made."""
    (folder / "photos").mkdir()
    picture(1).save(folder / "photos/cat.png")


def _model() -> Any:
    preprocess = scorecam.Preprocess.from_dict(PREPROCESS)
    return scorecam.open_model(network(), preprocess=preprocess, labels=list("abcde"))


def calls(folder: Path) -> Iterator[tuple[str, Call]]:
    """Every public callable with parameters, by name."""
    net, model = network(), _model()
    image = torch.rand(1, 3, SIDE, SIDE)
    explained = scorecam.explain(model, picture(1), runtime="eager")
    bank, cam = explained.bank, scorecam.ScoreCAM(net, runtime="eager")
    # What the records are made of is known from those that are there.
    records: dict[type, Any] = {
        scorecam.Explanation: explained,
        scorecam.ScoreBank: bank,
        scorecam.Provenance: bank.provenance,
        scorecam.Target: explained.target,
        scorecam.Variant: scorecam.VARIANTS["official"],
        scorecam.Masking: scorecam.Masking(),
        scorecam.Preprocess: model.preprocess,
        scorecam.Layer: scorecam.layers(model)[0],
        scorecam.Note: scorecam.Note("flat", 0.5, 0.1, "A sentence."),
        scorecam.Progress: scorecam.Progress(1, 2, None),
    }
    for kind, record in records.items():
        given = {name: getattr(record, name) for name in inspect.signature(kind).parameters}
        yield kind.__name__, _call(kind, given)
    run = {"dataset": str(folder / "photos"), "out": str(folder / "run"), "runtime": "eager"}
    plain: dict[str, tuple[Any, dict[str, Any]]] = {
        "open_model": (scorecam.open_model, {"model": net}),
        "explain": (scorecam.explain, {"model": net, "image": image, "runtime": "eager"}),
        "layers": (scorecam.layers, {"model": net, "image": image}),
        "ScoreCAM": (scorecam.ScoreCAM, {"model": net}),
        "ScoreCAM.__call__": (cam, {"x": image}),
        "ScoreCAM.bank": (cam.bank, {"image": image}),
        "check": (scorecam.check, {"model": model, "explanation": explained}),
        "scaled": (inspect.unwrap(scorecam.scaled), {"heatmap": explained.heatmap}),
        "evaluate": (
            scorecam.evaluate,
            {"model": model, "methods": "uniform", "metrics": "quick", **run},
        ),
        "sanity": (
            scorecam.sanity,
            {"model": model, "methods": "edges", **run, "out": str(folder / "sane")},
        ),
        "compare": (
            scorecam.compare,
            {
                "sides": ["toy_models:spied", "toy_models:spied,precision=float32"],
                "dataset": run["dataset"],
                "out": str(folder / "compared"),
                "opener": lambda *_, **__: model,
                "method": "uniform",
            },
        ),
        "verify": (scorecam.verify, {"path": run["out"]}),
        "Explanation.of": (explained.of, {}),
        "Explanation.top": (explained.top, {}),
        "Explanation.side_by_side": (explained.side_by_side, {"maps": {"a": explained.heatmap}}),
        "Explanation.to_html": (explained.to_html, {"path": str(folder / "page.html")}),
        "ScoreBank.target": (bank.target, {}),
        "ScoreBank.weights": (bank.weights, {}),
        "ScoreBank.error": (bank.error, {}),
        "ScoreBank.heatmap": (bank.heatmap, {}),
        "ScoreBank.contrast": (bank.contrast, {"target": 0, "other": 1}),
        "ScoreBank.keep": (bank.keep, {"classes": 2}),
        "ScoreBank.place": (bank.place, {"index": 0}),
        "ScoreBank.save": (bank.save, {"path": str(folder / "bank.safetensors")}),
        "ScoreBank.load": (scorecam.ScoreBank.load, {"path": str(folder / "bank.safetensors")}),
        "Preprocess.imagenet": (scorecam.Preprocess.imagenet, {"size": 32}),
        "Preprocess.lite": (scorecam.Preprocess.lite, {"size": 32}),
        "Preprocess.load": (scorecam.Preprocess.load, {"path_or_name": "imagenet"}),
        "Preprocess.from_dict": (scorecam.Preprocess.from_dict, {"values": PREPROCESS}),
        **_compat(net, image),
    }
    for name, (function, given) in plain.items():
        yield name, _call(function, given)


def _compat(net: nn.Module, image: torch.Tensor) -> dict[str, tuple[Any, dict[str, Any]]]:
    layer = net.get_submodule("1")
    seen = torchcam.ScoreCAM(net, "1")
    net(image)
    photo, map_ = np.random.default_rng(0).random((SIDE, SIDE, 3)), np.zeros((SIDE, SIDE))
    mask = Image.new("L", (SIDE, SIDE))
    grad = pytorch_grad_cam.ScoreCAM(net, [layer])
    return {
        "official.ScoreCAM": (
            official.ScoreCAM,
            {"model_dict": {"arch": net, "layer_name": "1"}},
        ),
        "official.__call__": (
            official.ScoreCAM({"arch": net, "layer_name": "1"}),
            {"input": image},
        ),
        "pytorch_grad_cam.ScoreCAM": (
            pytorch_grad_cam.ScoreCAM,
            {"model": net, "target_layers": [layer]},
        ),
        "pytorch_grad_cam.__call__": (grad, {"input_tensor": image}),
        "pytorch_grad_cam.show_cam_on_image": (
            pytorch_grad_cam.show_cam_on_image,
            {"img": photo, "mask": map_},
        ),
        "torchcam.ScoreCAM": (torchcam.ScoreCAM, {"model": net}),
        "torchcam.__call__": (seen, {"class_idx": 0}),
        "torchcam.fuse_cams": (torchcam.ScoreCAM.fuse_cams, {"cams": [image[0], image[0]]}),
        "torchcam.overlay_mask": (torchcam.overlay_mask, {"img": mask, "mask": mask}),
    }


def _call(function: Callable[..., Any], given: Mapping[str, Any]) -> Call:
    names = tuple(
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    )
    return Call(function, given, names)


CALLED_BACK = ("progress", "tell", "opener")
"""Parameters that are functions of the user's, whose own errors are the user's."""


def faults(call: Call, parameter: str) -> list[str]:
    """What goes wrong with each wrong value of one parameter: anything but an error of ours.

    Every message must be one paragraph of visible characters, and short.
    """
    found: list[str] = []
    for name, make in values().items():
        value = make()
        try:
            call.function(**{**call.given, parameter: value})
        except scorecam.ScorecamError as error:
            text = str(error)
            if len(text) > LONGEST_PARAGRAPH or not text.isprintable():
                found.append(f"{name}: {len(text)} characters: {text[:80]!r}")
        except Exception as error:  # noqa: BLE001  (that none is raised is what is tested)
            if not (parameter in CALLED_BACK and callable(value)):
                found.append(f"{name}: {type(error).__name__}: {str(error)[:80]}")
    return found
