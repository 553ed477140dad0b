"""Run the command in this process, and check what every answer must satisfy."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

import toy_models
from scorecam.cli.app import main

SIDE = 16
"""Width and height of the toy models' input; photos of this size are not resized."""

PREPROCESS = {
    "size": [SIDE, SIDE],
    "fit": "squash",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "nearest",
}
NAMES = ("tabby", "tiger cat", "Egyptian cat", "lynx", "sunglasses")

MODEL = ("--model", "toy_models:tiny", "--preprocess", "preprocess.json", "--labels", "names.json")
EXPLAIN_OPTIONS = (
    *("model", "weights", "preprocess", "labels", "head", "device", "layer", "target", "variant"),
    *("budget", "precision", "runtime", "batch-size", "seed", "methods", "tolerance"),
)
"""Options of `explain` that take a text."""


@dataclass(frozen=True)
class Answer:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The output of `--json`: one document in strict JSON, and nothing else."""
        assert self.out.startswith("{"), self
        return strict_json(self.out)

    @property
    def items(self) -> list[dict[str, Any]]:
        return self.document["items"]


def scorecam(*words: str | os.PathLike[str], encoding: str = "utf-8") -> Answer:
    """Run the command in this process; an exception that escapes it fails the test.

    `encoding` is the encoding of stdout and stderr.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
    arguments = ["scorecam", *map(os.fspath, words)]
    with (
        mock.patch.object(sys, "argv", arguments),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode(encoding))
    return Answer(code, *texts)


def shell_environment(**changes: str) -> dict[str, str]:
    """An environment in which the toy models can be imported from any folder."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"} | changes


def options(model: str = "spied", **changes: str | None) -> list[str]:
    """`--model` and the options for it; an option that is None is left out."""
    settings = {"preprocess": "preprocess.json", "labels": "names.txt"} | changes
    words = ["--model", f"toy_models:{model}"]
    for name, value in settings.items():
        if value is not None:
            words += ["--" + name.replace("_", "-"), value]
    return words


def refused(answer: Answer, *phrases: str) -> str:
    """The error of a command that did nothing: exit code 2, nothing on stdout."""
    assert answer.code == 2, answer
    assert answer.out == ""
    return paragraph(answer, *phrases)


def paragraph(answer: Answer, *phrases: str) -> str:
    """The error on stderr: one paragraph that contains all of `phrases`."""
    [message] = [line for line in answer.err.splitlines() if line.startswith("scorecam: ")]
    assert "Traceback" not in answer.err
    assert message.count(". ") >= 1, f"one sentence says too little: {message}"
    for phrase in phrases:
        assert phrase in message, f"{phrase!r} is not in: {message}"
    return message


def strict_json(text: str) -> Any:
    """The value of strict JSON; Python's own parser also accepts NaN and Infinity."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def picture(seed: int, width: int = SIDE, height: int = SIDE) -> Image.Image:
    """A photo of coloured noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def whole(path: str | os.PathLike[str]) -> Image.Image:
    """A picture, read to its last byte."""
    with Image.open(path) as image:
        return image.copy()


def listing(folder: Path) -> set[str]:
    """The files below a folder, including hidden ones; empty if there is no such folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def furnish(folder: Path) -> None:
    """Write two photos, preprocessing and class names into a folder; forget all spies."""
    toy_models.SPIES.clear()
    for seed, name in enumerate(("cat.png", "dog.png")):
        picture(seed).save(folder / name)
    (folder / "preprocess.json").write_text(json.dumps(PREPROCESS), "utf-8")
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n", "utf-8")
