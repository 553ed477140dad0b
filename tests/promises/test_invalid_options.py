"""Invalid options are refused, and the message says how to correct them.

Refused means: exit code 2, nothing on stdout, and one paragraph on stderr with what happened, the
likely cause and what to try.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import toy_models
from command_line import (
    NAMES,
    PREPROCESS,
    Answer,
    listing,
    options,
    refused,
    scorecam,
    whole,
)

pytestmark = pytest.mark.usefixtures("photo_folder")


def explain(*words: str, model: str = "spied", **changes: str | None) -> Answer:
    """Explain cat.png with a toy model."""
    return scorecam("explain", "cat.png", *options(model, **changes), *words)


def masked_images_scored() -> int:
    """The number of images, other than the photo itself, that the spied networks received."""
    return sum(max(0, len(spy.images.unique(dim=0)) - 1) for spy in toy_models.SPIES if spy.seen)


# ── unknown names ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "phrases"),
    [
        ("lite9", ["no model 'lite9'", "lite0", "torchvision:NAME", "package.module:factory"]),
        ("Lite0", ["Did you mean 'lite0'"]),
        ("resnet50", ["no model 'resnet50'", "torchvision:resnet50"]),
        ("", ["no model ''"]),
        ("toy_models:", ["package.module:factory"]),
        (":tiny", ["package.module:factory"]),
        ("no_such_package:net", ["no_such_package", "current folder"]),
        ("toy_models:tinny", ["no 'tinny'", "Did you mean 'tiny'"]),
        ("toy_models:net", ["no 'net'"]),
        ("toy_models:raises", ["my_weights.bin", "FileNotFoundError"]),
        ("toy_models:needs_depth", ["depth", "factory()"]),
        ("toy_models:state_dict", ["OrderedDict", "not a torch.nn.Module"]),
        ("toy_models:not_callable", ["int"]),
        ("model.pt", ["no model 'model.pt'"]),
    ],
)
def test_an_unknown_or_invalid_model_is_refused(model: str, phrases: list[str]) -> None:
    words = ["--preprocess", "preprocess.json", "--out", "folder"]
    refused(scorecam("explain", "cat.png", "--model", model, *words), *phrases)
    assert listing(Path()) == {"cat.png", "dog.png", "names.txt", "preprocess.json"}


def test_a_factory_that_ends_the_program_is_refused() -> None:
    """Otherwise `explain` would exit with its code, 0, as if it had succeeded."""
    refused(explain(model="gives_up"), "toy_models:gives_up")


@pytest.mark.needs("torchvision")
@pytest.mark.parametrize(
    ("model", "phrases"),
    [
        ("torchvision:resnet50", ["needs weights", "--weights", "downloaded"]),
        ("torchvision:resnet05", ["no classifier 'resnet05'", "Did you mean", "resnet50"]),
        ("torchvision:fasterrcnn_resnet50_fpn", ["no classifier"]),
    ],
)
def test_a_torchvision_model_needs_a_name_and_weights(model: str, phrases: list[str]) -> None:
    refused(scorecam("explain", "cat.png", "--model", model), *phrases)


@pytest.mark.parametrize(
    ("words", "phrases"),
    [
        (["--variant", "offical"], ["no variant 'offical'", "Did you mean 'official'", "literal"]),
        (["--variant", ""], ["algorithm1"]),
        (["--head", "logit"], ["no head 'logit'", "Did you mean 'logits'", "sigmoid"]),
        (["--head", "softmax"], ["no head 'softmax'", "probabilities"]),
        (["--device", "gpu"], ["'gpu'", "scorecam doctor"]),
        (["--device", "cuda:99"], ["'cuda:99'", "scorecam doctor"]),
        (["--device", ""], ["''", "scorecam doctor"]),
        (
            ["--layer", "network.boddy"],
            ["no layer", "Did you mean 'network.body", "scorecam layers"],
        ),
        (["--layer", "classifier"], ["Did you mean 'network.classifier'"]),
        (["--layer", "network.classifier"], ["no grid", "earlier layer", "(1, 5)"]),
        (["--layer", "network.flatten"], ["no grid"]),
        (["--layer", ""], ["layer"]),
        (["--target", "taby"], ["No class is called 'taby'", "Did you mean 'tabby'"]),
        (["--target", "dog"], ["No class is called 'dog'", "5 names", "0 to 4"]),
        (["--target", "5"], ["no class 5", "0 to 4", "start at 1"]),
        (["--target", "-1"], ["-1", "0 to 4"]),
        (["--target", ""], ["0 to 4"]),
        (["--target", "top10"], ["top10", "0 to 4"]),
        (["--methods", "scorcam"], ["no method 'scorcam'", "Did you mean 'scorecam'"]),
        (["--methods", "scorecam:varant=literal"], ["'varant=literal'", "Did you mean 'variant'"]),
        (["--methods", "scorecam:variant=litteral"], ["Did you mean 'literal'"]),
        (["--methods", ","], ["No method was given"]),
        (["--batch-size", "0"], ["0", "at least 1", "auto"]),
        (["--batch-size", "-3"], ["-3", "at least 1"]),
        (["--batch-size", "many"], ["many", "at least 1", "auto"]),
        (["--batch-size", "1.5"], ["1.5", "at least 1"]),
    ],
    ids=lambda value: "=".join(value) if value[0].startswith("--") else "",
)
def test_an_invalid_option_is_refused_before_any_masked_pass(
    words: list[str], phrases: list[str]
) -> None:
    refused(explain(*words), *phrases)
    assert listing(Path("out")) == set()
    assert masked_images_scored() == 0


@pytest.mark.parametrize(
    "words",
    [["--variant", "offical"], ["--layer", "body"], ["--target", "taby"], ["--batch-size", "0"]],
    ids=" ".join,
)
def test_an_error_common_to_all_photos_is_printed_once(words: list[str]) -> None:
    refused(scorecam("explain", "cat.png", "dog.png", *options(), *words), words[1])


def test_the_meta_device_is_refused() -> None:
    refused(explain("--device", "meta", model="tiny"), "meta")


@pytest.mark.parametrize("wrong", ["taby", "9"])
def test_every_target_is_looked_up_before_any_masked_pass(wrong: str) -> None:
    refused(explain("--target", "tabby", "--target", wrong), wrong)
    assert masked_images_scored() == 0


def test_an_ambiguous_class_name_is_refused_with_the_indices() -> None:
    Path("names.txt").write_text("crane\ncat\ndog\ncrane\nowl\n", "utf-8")

    refused(explain("--target", "crane"), "2 classes are called 'crane'", "0, 3")
    assert masked_images_scored() == 0


def test_a_class_name_is_refused_if_the_model_has_none() -> None:
    refused(explain("--target", "tabby", labels=None), "tabby", "no names", "--labels", "0 to 4")


# ── labels ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [4, 6])
def test_labels_of_the_wrong_length_are_refused(count: int) -> None:
    Path("names.txt").write_text("\n".join(f"class {i}" for i in range(count)), "utf-8")

    refused(explain(), f"{count} class names", "5", "--labels")
    assert masked_images_scored() == 0


@pytest.mark.parametrize(
    ("name", "content", "phrases"),
    [
        ("nowhere.txt", None, ["nowhere.txt", "There is no file"]),
        ("empty.txt", b"", ["empty.txt holds no class names"]),
        ("latin.txt", "Kätzchen\n".encode("latin-1") * 5, ["latin.txt", "UTF-8"]),
        ("list.json", b'["tabby", ', ["list.json", "cannot be read"]),
        ("numbers.json", b"[1, 2, 3, 4, 5]", ["not a list of names"]),
        ("nested.json", b'{"0": ["n01", "tabby"]}', ["nested.json", "not a list of names"]),
        ("gaps.json", b'{"0": "tabby", "7": "lynx"}', ["gaps.json", "0, 1, 2"]),
        ("names.json", b'{"tabby": 1}', ["names.json", "0 is missing"]),
        ("text.json", b'"tabby"', ["not a list of names"]),
        ("null.json", b"null", ["not a list of names"]),
    ],
)
def test_invalid_labels_are_refused(name: str, content: bytes | None, phrases: list[str]) -> None:
    if content is not None:
        Path(name).write_bytes(content)

    refused(explain(labels=name), *phrases)
    assert masked_images_scored() == 0


def test_a_folder_as_labels_is_refused() -> None:
    Path("labels").mkdir()

    refused(explain(labels="labels"), "labels", "is a folder")


@pytest.mark.parametrize(
    "name", ["[red]cat[/red]", "<script>alert(1)</script>", "{0} %s \\n", "猫🐈"]
)
def test_labels_are_printed_as_they_are(name: str) -> None:
    """Markup, format fields, escapes and scripts have no effect."""
    Path("names.txt").write_text("\n".join([name, *NAMES[1:]]), "utf-8")
    printed = explain("--target", "0").out
    [item] = explain("--target", "0", "--json", "--force").items

    assert f"cat.png: {name} " in printed
    assert item["target"]["name"] == name
    assert Path(item["files"]["overlay"]).parent == Path("out")
    assert whole(item["files"]["overlay"])


def test_a_label_cannot_name_a_file_outside_the_folder() -> None:
    Path("names.txt").write_text("\n".join(["../../cat", *NAMES[1:]]), "utf-8")
    [item] = explain("--target", "0", "--json", "--out", "deep/out").items

    assert Path(item["files"]["overlay"]).resolve().parent == Path("deep/out").resolve()


def test_a_long_label_makes_a_valid_file_name() -> None:
    Path("names.txt").write_text("\n".join(["cat " * 200, *NAMES[1:]]), "utf-8")

    assert explain("--target", "0").code == 0


# ── preprocessing ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "phrases"),
    [
        ({"size": [0, 16]}, ["`size`", "at least 1"]),
        ({"size": [-16, 16]}, ["`size`"]),
        ({"size": 16}, ["`size`", "(height, width)"]),
        ({"size": [16.5, 16]}, ["`size`"]),
        ({"size": [10**6, 10**6]}, ["`size`", "at most"]),
        ({"size": None}, ["`size`"]),
        ({"fit": "crop"}, ["`fit`", "'crop'", "crop_resize"]),
        ({"fit": ["squash"]}, ["`fit`"]),
        ({"mean": [123.7, 116.3, 103.5]}, ["`mean`", "[0, 1]", "255"]),
        ({"mean": "imagenet"}, ["`mean`"]),
        ({"mean": [0.5, 0.5]}, ["`mean`"]),
        ({"std": [0.5, 0.5, 0]}, ["`std`", "greater than 0"]),
        ({"std": [float("nan")] * 3}, ["`std`"]),
        ({"std": [0.5]}, ["`mean` and `std`"]),
        ({"fit": "crop_resize", "fraction": 1.5}, ["`fraction`", "1.5"]),
        ({"interpolation": "bilinaer"}, ["`interpolation`", "Did you mean 'bilinear'"]),
        ({"resize": 256}, ["no `resize`"]),
        ({"Mean": [0.5] * 3}, ["no `Mean`", "Did you mean 'mean'"]),
    ],
    ids=str,
)
def test_invalid_preprocessing_is_refused_with_its_key(
    change: dict[str, Any], phrases: list[str]
) -> None:
    Path("preprocess.json").write_text(json.dumps(PREPROCESS | change), "utf-8")

    refused(explain(), *phrases)
    assert masked_images_scored() == 0


@pytest.mark.parametrize("key", ["size", "fit", "mean", "std"])
def test_incomplete_preprocessing_is_refused(key: str) -> None:
    incomplete = {name: value for name, value in PREPROCESS.items() if name != key}
    Path("preprocess.json").write_text(json.dumps(incomplete), "utf-8")

    refused(explain(), f"lacks `{key}`")


@pytest.mark.parametrize(
    ("content", "phrases"),
    [
        (b"", ["not JSON"]),
        (b"size: [224, 224]", ["not JSON"]),
        (b'{"size": [16, 16],', ["not JSON"]),
        (b"[224, 224]", ["A preprocessing is an object"]),
        (b"null", ["A preprocessing is an object"]),
        (b"\xff\xfe{\x00}\x00", ["preprocess.json"]),
    ],
)
def test_a_preprocessing_file_that_is_no_table_is_refused(
    content: bytes, phrases: list[str]
) -> None:
    Path("preprocess.json").write_bytes(content)

    refused(explain(), *phrases)


def test_an_unknown_preprocessing_is_refused() -> None:
    refused(explain(preprocess="imagnet"), "imagnet", "`imagenet`")


def test_missing_preprocessing_names_the_option_to_add() -> None:
    refused(explain(preprocess=None), "not known how to turn a photo", "--preprocess")
    answer = scorecam("layers", "--model", "toy_models:spied")
    refused(answer, "size of the input", "--preprocess")
