"""Values that users pass by mistake, and every public call with its parameters."""

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
from onnx_heads import classifier
from scorecam.base.wording import LONGEST_PARAGRAPH
from scorecam.compat import official, pytorch_grad_cam, torchcam
from scorecam.testing import Regions

SIDE = 16


class Unprintable:
    """An object with a failing `repr`, like many half-initialised objects."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def _quantised() -> torch.Tensor:
    scale = torch.tensor(0.1)
    return torch._make_per_tensor_quantized_tensor(
        torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8), float(scale), 0
    )


def tensors() -> dict[str, Any]:
    """Tensors and arrays, most of them invalid as images."""
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
        "an image that requires a gradient": image.clone().requires_grad_(),
        "an image with NaN": torch.full((1, 3, SIDE, SIDE), torch.nan),
        "a video": torch.rand(1, 5, 3, SIDE, SIDE),
        "two images": torch.rand(2, 3, SIDE, SIDE),
        "a parameter": nn.Parameter(image.clone()),
        "an array": np.random.default_rng(0).random((1, 3, SIDE, SIDE)),
        "a photo as an array": np.zeros((SIDE, SIDE, 3), np.uint8),
        "an array of objects": np.array([None, "x"], dtype=object),
        "an array of text": np.array(["a", "b"]),
        "an empty array": np.empty(0),
        "a NumPy integer": np.int64(3),
        "a NumPy float": np.float64(3.0),
        "a NumPy boolean": np.bool_(1),
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
        "an empty text": "",
        "x": "x",
        "12": "12",
        "Fast": "Fast",
        "many": "many",
        "cuda:99": "cuda:99",
        "a long text": "long " * 8000,
        "a long word": "x" * 40_000,
        "a terminal's title": "\x1b]0;evil\x07\r\n\x9b2J\u202etxt\x08",
        "a lone surrogate": "\udcff",
        "half of a surrogate pair": "\ud800",
        "NUL": "\x00",
        "38 KB of bytes": b"\xff" * 38_000,
        "a byte array": bytearray(b"xy"),
        "a path": Path("nowhere/at/all.png"),
    }


def objects() -> dict[str, Any]:
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
        "a function without parameters": lambda: None,
        "a class": int,
        "a Python module": pathlib,
        "an exception": ValueError("x" * 10_000),
        "a PIL image": Image.new("RGB", (SIDE, SIDE)),
        "a list of photos": [Image.new("RGB", (SIDE, SIDE))],
        "a network": nn.Linear(2, 2),
        "a device": torch.device("cpu"),
        "a dtype": torch.float16,
        "a slice": slice(1, 2),
    }


def values() -> dict[str, Callable[[], Any]]:
    """Functions that return each invalid value by name; generators can be read only once."""
    fixed = {**numbers(), **texts(), **objects(), **tensors()}
    makers: dict[str, Callable[[], Any]] = {
        name: lambda v=value: v for name, value in fixed.items()
    }
    makers["a generator"] = lambda: (number for number in (1, 2))
    makers["an iterator of text"] = lambda: iter("ab")
    return makers


# ── public calls ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Call:
    """A public callable, and valid arguments for it.

    Args:
        function: the callable; methods are bound.
        arguments: by name; other parameters have their defaults.
        names: the parameters to test.
    """

    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    names: tuple[str, ...]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 5),
    ).eval()  # fmt: skip


def furnish(folder: Path) -> None:
    """Put a photo into the folder that all calls use."""
    (folder / "photos").mkdir()
    picture(1).save(folder / "photos/cat.png")


def _model() -> Any:
    preprocess = scorecam.Preprocess.from_dict(PREPROCESS)
    return scorecam.open_model(network(), preprocess=preprocess, labels=list("abcde"))


def _classifier(folder: Path) -> Any:
    preprocess = scorecam.Preprocess.from_dict(PREPROCESS)
    return scorecam.open_model(str(classifier(folder / "net.onnx")), preprocess=preprocess)


def calls(folder: Path) -> Iterator[tuple[str, Call]]:
    """Every public callable with parameters, by name."""
    net, model = network(), _model()
    image = torch.rand(1, 3, SIDE, SIDE)
    explanation = scorecam.explain(model, picture(1), runtime="eager")
    voxels = Regions(torch.ones(2, 1), axes=3)
    volume = scorecam.explain(voxels, torch.rand(1, 2, 3, 4), layer="maps", runtime="eager")
    bank, cam = explanation.bank, scorecam.ScoreCAM(net, runtime="eager")
    # The arguments of a record are the fields of an existing one.
    records: dict[type, Any] = {
        scorecam.Explanation: explanation,
        scorecam.ScoreBank: bank,
        scorecam.Provenance: bank.provenance,
        scorecam.Target: explanation.target,
        scorecam.Variant: scorecam.VARIANTS["official"],
        scorecam.Masking: scorecam.Masking(),
        scorecam.Preprocess: model.preprocess,
        scorecam.Layer: scorecam.layers(model)[0],
        scorecam.Note: scorecam.Note("flat", 0.5, 0.1, "A sentence."),
        scorecam.Progress: scorecam.Progress(1, 2, None),
    }
    for kind, record in records.items():
        arguments = {name: getattr(record, name) for name in inspect.signature(kind).parameters}
        yield kind.__name__, _call(kind, arguments)
    run = {"dataset": str(folder / "photos"), "out": str(folder / "run"), "runtime": "eager"}
    functions: dict[str, tuple[Any, dict[str, Any]]] = {
        "open_model": (scorecam.open_model, {"model": net}),
        "explain": (scorecam.explain, {"model": net, "image": image, "runtime": "eager"}),
        "explain_pair": (
            scorecam.explain_pair,
            {"model": net, "one": image, "other": image.flip(2), "runtime": "eager"},
        ),
        "layers": (scorecam.layers, {"model": net, "image": image}),
        "sliding_window": (scorecam.sliding_window, {"model": model, "window": 8}),
        "ScoreCAM": (scorecam.ScoreCAM, {"model": net}),
        "ScoreCAM.__call__": (cam, {"x": image}),
        "ScoreCAM.bank": (cam.bank, {"image": image}),
        "check": (scorecam.check, {"model": model, "explanation": explanation}),
        "scaled": (inspect.unwrap(scorecam.scaled), {"heatmap": explanation.heatmap}),
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
        "export_with_map": (
            scorecam.export_with_map,
            {"model": _classifier(folder), "out": str(folder / "net.map.onnx"), "force": True},
        ),
        "Explanation.of": (explanation.of, {}),
        "Explanation.top": (explanation.top, {}),
        "Explanation.overlay": (volume.overlay, {"spacing": [2.0, 1.0, 1.0]}),
        "Explanation.side_by_side": (
            explanation.side_by_side,
            {"maps": {"a": explanation.heatmap}},
        ),
        "Explanation.overlays": (explanation.overlays, {}),
        "Explanation.pair": (explanation.pair, {"other": explanation}),
        "Explanation.to_html": (explanation.to_html, {"path": str(folder / "page.html")}),
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
        "Preprocess.yolo": (scorecam.Preprocess.yolo, {"size": 32}),
        "Preprocess.load": (scorecam.Preprocess.load, {"path_or_name": "imagenet"}),
        "Preprocess.from_dict": (scorecam.Preprocess.from_dict, {"values": PREPROCESS}),
        **_compat(net, image),
    }
    for name, (function, arguments) in functions.items():
        yield name, _call(function, arguments)


def _compat(net: nn.Module, image: torch.Tensor) -> dict[str, tuple[Any, dict[str, Any]]]:
    layer = net.get_submodule("1")
    extractor = torchcam.ScoreCAM(net, "1")
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
        "torchcam.__call__": (extractor, {"class_idx": 0}),
        "torchcam.fuse_cams": (torchcam.ScoreCAM.fuse_cams, {"cams": [image[0], image[0]]}),
        "torchcam.overlay_mask": (torchcam.overlay_mask, {"img": mask, "mask": mask}),
    }


def _call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Call:
    names = tuple(
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    )
    return Call(function, arguments, names)


CALLBACKS = ("progress", "tell", "opener")
"""Parameters that take a function of the user's; its exceptions are not ours."""


def faults(call: Call, parameter: str) -> list[str]:
    """Faults with invalid values of one parameter: exceptions other than a `ScorecamError`.

    Messages that are too long or hold unprintable characters are faults too.
    """
    messages: list[str] = []
    for name, make in values().items():
        value = make()
        try:
            call.function(**{**call.arguments, parameter: value})
        except scorecam.ScorecamError as error:
            text = str(error)
            if len(text) > LONGEST_PARAGRAPH or not text.isprintable():
                messages.append(f"{name}: {len(text)} characters: {text[:80]!r}")
        except Exception as error:  # noqa: BLE001  (any exception is a fault)
            if not (parameter in CALLBACKS and callable(value)):
                messages.append(f"{name}: {type(error).__name__}: {str(error)[:80]}")
    return messages
