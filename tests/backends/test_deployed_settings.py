"""Preprocessing and class names in a deployed model's metadata and folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorecam.backends.deployed.found import Found, find_settings
from scorecam.backends.deployed.literals import sequence_of
from scorecam.images.preprocess import Preprocess

RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)

MODEL_INFO = {
    "model_type": "Classification",
    "mean_values": "123.675 116.28 103.53",
    "scale_values": "58.395 57.12 57.375",
    "reverse_input_channels": "True",
    "resize_type": "standard",
    "labels": "cat tiger_cat dog",
    "confidence_threshold": "0.5",
}

YOLO = {
    "description": "Ultralytics YOLOv8n model trained on coco.yaml",
    "author": "Ultralytics",
    "stride": "32",
    "task": "detect",
    "batch": "1",
    "imgsz": "[640, 480]",
    "names": "{0: 'person', 1: \"farrier's dog\", 2: 'caf\\xe9'}",
    "args": "{'batch': 1, 'half': False}",
    "channels": "3",
}

PROCESSOR: dict[str, Any] = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 224, "width": 224},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": list(RGB_MEAN),
    "image_std": list(RGB_STD),
}

TIMM: dict[str, Any] = {
    "architecture": "resnet18",
    "num_classes": 2,
    "label_names": ["cat", "dog"],
    "pretrained_cfg": {
        "input_size": [3, 224, 224],
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "crop_mode": "center",
        "mean": list(RGB_MEAN),
        "std": list(RGB_STD),
    },
}


def model(folder: Path, files: dict[str, Any] | None = None) -> Path:
    """The path of a model with files in its folder: texts, or values that become JSON."""
    for name, content in (files or {}).items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text, "utf-8")
    return folder / "net.onnx"


def close(found: Preprocess | None, expected: Preprocess) -> bool:
    """Whether two preprocessings differ at most by rounding."""
    if found is None:
        return False
    one, other = found.to_dict(), expected.to_dict()
    return one.keys() == other.keys() and all(one[key] == pytest.approx(other[key]) for key in one)


# ── OpenVINO's model_info ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("prefix", ["", "model_info "])
def test_model_info_states_preprocessing_and_names(tmp_path: Path, prefix: str) -> None:
    metadata = {prefix + key: value for key, value in MODEL_INFO.items()}

    found = find_settings(model(tmp_path), metadata, size=(224, 200))

    expected = Preprocess(
        size=(224, 200), fit="squash", fraction=1.0, mean=RGB_MEAN, std=RGB_STD,
        interpolation="linear", padding=0,
    )  # fmt: skip
    assert close(found.preprocess, expected)
    assert found.names == ("cat", "tiger_cat", "dog")
    assert found.remarks == (
        "Preprocessing was read from the metadata of net.onnx (model_info).",
        "Class names were read from the metadata of net.onnx (labels).",
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"resize_type": "fit_to_window"}, {"fit": "letterbox", "anchor": "top_left"}),
        (
            {"resize_type": "fit_to_window_letterbox", "pad_value": "114"},
            {"fit": "letterbox", "anchor": "centre", "padding": 114 / 255},
        ),
        ({"resize_type": "crop"}, {"fit": "crop_resize", "fraction": 1.0}),
        ({"otx_version": "2.4", "reverse_input_channels": "False"}, {"channels": "rgb"}),
        ({"otx_version": "2.4"}, {"channels": "bgr"}),
        ({"mean_values": "", "scale_values": "255"}, {"mean": (0,) * 3, "std": (1,) * 3}),
        ({"mean_values": "[127.5]", "scale_values": "None"}, {"mean": (0.5,) * 3}),
    ],
    ids=str,
)
def test_values_of_model_info_have_their_meaning(
    tmp_path: Path, change: dict[str, str], expected: dict[str, Any]
) -> None:
    found = find_settings(model(tmp_path), MODEL_INFO | change, size=(64, 64), names=False)

    assert found.preprocess is not None
    assert len(found.remarks) == 1
    for key, value in expected.items():
        assert getattr(found.preprocess, key) == pytest.approx(value)


@pytest.mark.parametrize("change", [{"reverse_input_channels": "False"}, {}])
def test_an_uncertain_order_of_colours_is_named(tmp_path: Path, change: dict[str, str]) -> None:
    metadata = {key: value for key, value in MODEL_INFO.items() if key[:7] != "reverse"}

    found = find_settings(model(tmp_path), metadata | change, size=(64, 64))

    assert found.preprocess is not None
    assert found.preprocess.channels == "rgb"
    assert "BGR, as OpenCV" in found.remarks[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"embedded_processing": "True"}, "inside"),
        ({"resize_type": "fill"}, "resize_type cannot be 'fill'"),
        ({"resize_type": "None", "model_type": "YOLO"}, "resize_type is missing"),
        ({"mean_values": "123.675 116.28"}, "differ in length"),
        ({"mean_values": "blue"}, "mean_values cannot be 'blue'"),
        ({"scale_values": "0"}, "`std` must be greater than 0"),
        ({"scale_values": "nan"}, "`std` cannot be"),
        ({"pad_value": "300"}, "`padding` must be in [0, 1]"),
        ({"intensity_mode": "window"}, "intensity_mode is 'window'"),
        ({"input_dtype": "u16"}, "input_dtype is 'u16'"),
        ({"mean_values": "1 " * 2**22}, "more than 4,194,304 characters"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_model_info_that_cannot_be_used_is_named(
    tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    found = find_settings(model(tmp_path), MODEL_INFO | change, size=(64, 64), names=False)

    assert found.preprocess is None
    [remark] = found.remarks
    assert remark.startswith(
        "Preprocessing was not read from the metadata of net.onnx (model_info): "
    )
    assert reason in remark


def test_the_size_must_be_stated_somewhere(tmp_path: Path) -> None:
    unknown = find_settings(model(tmp_path), MODEL_INFO)
    own = find_settings(
        model(tmp_path), MODEL_INFO | {"orig_height": "48", "orig_width": "64"}, names=False
    )

    assert unknown.preprocess is None
    assert "states the size of the input" in unknown.remarks[0]
    assert own.preprocess is not None
    assert own.preprocess.size == (48, 64)


# ── PaddlePaddle ─────────────────────────────────────────────────────────────────────────────


def test_names_of_paddle_are_lines(tmp_path: Path) -> None:
    found = find_settings(tmp_path / "net.onnx", {"character": "0\n90\n180\n270\n"})
    assert found.names == ("0", "90", "180", "270")
    assert found.remarks == ("Class names were read from the metadata of net.onnx (character).",)


# ── ultralytics ──────────────────────────────────────────────────────────────────────────────


def test_ultralytics_metadata_is_a_letterbox_with_names(tmp_path: Path) -> None:
    found = find_settings(model(tmp_path), YOLO, size=(640, 480), colours=3)

    assert found.preprocess == Preprocess(
        size=(640, 480), fit="letterbox", fraction=1.0, mean=(0.0,) * 3, std=(1.0,) * 3,
        interpolation="linear",
    )  # fmt: skip
    assert found.names == ("person", "farrier's dog", "café")
    assert found.remarks == (
        "Preprocessing was read from the metadata of net.onnx (ultralytics).",
        "Class names were read from the metadata of net.onnx (names).",
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"task": "segment"}, {"fit": "letterbox"}),
        ({"task": "classify", "imgsz": "224"}, {"fit": "resize_crop", "size": (224, 224)}),
        ({"description": "Ultralytics RT-DETR-l model"}, {"fit": "squash"}),
        ({"channels": "1"}, {"mean": (0.0,)}),
    ],
    ids=str,
)
def test_tasks_of_ultralytics_have_their_own_fit(
    tmp_path: Path, change: dict[str, str], expected: dict[str, Any]
) -> None:
    found = find_settings(model(tmp_path), YOLO | change)

    assert found.preprocess is not None
    for key, value in expected.items():
        assert getattr(found.preprocess, key) == value


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"task": "dance"}, "the task 'dance' is not known"),
        ({"imgsz": "huge"}, "imgsz cannot be 'huge'"),
        ({"imgsz": "[0, 640]"}, "`size` cannot be"),
        ({"imgsz": "[999999, 999999]"}, "`size` cannot be"),
        ({"channels": "10"}, "takes '10' channels"),
        ({"channels": "1"}, "it has 1 colours, and the network takes 3"),
    ],
    ids=str,
)
def test_ultralytics_metadata_that_cannot_be_used_is_named(
    tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    found = find_settings(model(tmp_path), YOLO | change, colours=3)

    assert found.preprocess is None
    assert found.names is not None
    assert reason in found.remarks[0]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{0: 'cat', 1: 'dog'}", ("cat", "dog")),
        ("{1: 'dog', 0: 'cat',}", ("cat", "dog")),
        ('{"0": "cat", "1": "dog"}', ("cat", "dog")),
        ("['cat', 'dog']", ("cat", "dog")),
        ("('cat',)", ("cat",)),
        (r"['it\'s', 'a\\b', '\u00e9\U0001f600', 'x, y: z']", ("it's", r"a\b", "é😀", "x, y: z")),
        ("{}", None),
        ("[]", None),
    ],
)
def test_names_in_a_literal_are_read(text: str, names: tuple[str, ...] | None) -> None:
    assert sequence_of(text) == names


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_names_that_python_or_json_wrote_are_read_back(names: list[str]) -> None:
    expected = tuple(names) or None

    assert sequence_of(repr(names)) == expected
    assert sequence_of(repr(dict(enumerate(names)))) == expected
    assert sequence_of(json.dumps(names, ensure_ascii=False)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "cat",
        "{0: 'cat'",
        "{0: 'cat', 2: 'dog'}",
        "{0: 'cat', 0: 'dog'}",
        "{'cat': 0}",
        "{'cat', 'dog'}",
        "[0: 'cat']",
        "{0: 'cat', 'dog'}",
        "['cat' 'dog']",
        "[['cat']]",
        "{0: __import__('os')}",
        "[" * 100_000,
        "{" + "-" * 100_000 + "1: 'cat'}",
        r"['\N{BULLET}']",
        r"['\d']",
        "['a\0b']",
        r"['\ud800']",
        "['" + "x" * 20_000 + "']",
        "[,]",
    ],
    ids=lambda text: text[:20],
)
def test_any_other_text_is_not_read_as_names(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"^(its|name|one) "):
        sequence_of(text)
    found = find_settings(model(tmp_path), {"names": text})
    assert found.names is None
    assert bool(found.remarks) == bool(text.strip())


# ── files in the folder ──────────────────────────────────────────────────────────────────────


def test_a_preprocessor_config_is_read_without_transformers(tmp_path: Path) -> None:
    found = find_settings(model(tmp_path, {"preprocessor_config.json": PROCESSOR}), {})

    expected = Preprocess(size=(224, 224), fit="squash", fraction=1.0, mean=RGB_MEAN, std=RGB_STD)
    assert close(found.preprocess, expected)
    assert found.remarks == (
        "Preprocessing was read from preprocessor_config.json in the folder of net.onnx.",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"image_mean": None},
        {"resample": [2]},
        {"size": {"shortest_edge": 0}, "do_center_crop": True, "crop_size": 0},
        {"crop_size": {"height": 224, "width": 224}, "size": {"shortest_edge": 256}},
        {"do_pad": True},
        {"do_thumbnail": True},
        {"rescale_offset": True},
        {"image_std": [0, 0, 0]},
        {"image_mean": ["x"] * 3},
        {"rescale_factor": 10**400},
    ],
    ids=str,
)
def test_an_incomplete_preprocessor_config_is_not_guessed(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    files = {"preprocessor_config.json": PROCESSOR | change}

    found = find_settings(model(tmp_path, files), {})

    assert found.preprocess is None
    [remark] = found.remarks
    assert "not a plain resize, crop and normalisation" in remark


def test_a_preprocessor_config_may_flip_the_colours(tmp_path: Path) -> None:
    """As MobileViT's, which do not normalise."""
    values = {
        "do_center_crop": True, "do_resize": True, "do_rescale": True, "resample": 2,
        "do_flip_channel_order": True, "size": {"shortest_edge": 288},
        "crop_size": {"height": 256, "width": 256},
    }  # fmt: skip

    found = find_settings(model(tmp_path, {"preprocessor_config.json": values}), {})

    expected = Preprocess(
        size=(256, 256), fit="resize_crop", fraction=256 / 288, channels="bgr",
        mean=(0.0,) * 3, std=(1.0,) * 3,
    )  # fmt: skip
    assert close(found.preprocess, expected)


def test_timms_config_states_preprocessing_and_names(tmp_path: Path) -> None:
    found = find_settings(model(tmp_path, {"config.json": TIMM}), {})

    expected = Preprocess(
        size=(224, 224), fit="resize_crop", fraction=224 / 235, mean=RGB_MEAN, std=RGB_STD,
        interpolation="bicubic",
    )  # fmt: skip
    assert close(found.preprocess, expected)
    assert found.names == ("cat", "dog")


def test_a_config_of_transformers_has_names_only(tmp_path: Path) -> None:
    config = {"model_type": "vit", "id2label": {"0": "cat", "1": "dog"}}

    found = find_settings(model(tmp_path, {"config.json": config}), {})

    assert found == Found(
        None,
        ("cat", "dog"),
        ("Class names were read from config.json in the folder of net.onnx.",),
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("0 cat\n1 tiger cat\n", ("cat", "tiger cat")),
        ("0: cat\n1: dog", ("cat", "dog")),
        ("1 cat\n2 dog\n", ("1 cat", "2 dog")),
        ("0 cat\n2 dog\n", ("0 cat", "2 dog")),
    ],
)
def test_names_stand_one_per_line_in_labels_txt(
    tmp_path: Path, text: str, names: tuple[str, ...]
) -> None:
    assert find_settings(model(tmp_path, {"labels.txt": text}), {}).names == names


def test_the_order_is_metadata_then_own_files_then_shared_files(tmp_path: Path) -> None:
    own, shared = Preprocess.lite(32).to_dict(), Preprocess.lite(64).to_dict()
    files = {
        "net.preprocess.json": own,
        "preprocess.json": shared,
        "preprocessor_config.json": PROCESSOR,
        "config.json": TIMM,
        "net.labels.txt": "own",
        "labels.txt": "shared",
    }
    path = model(tmp_path, files)

    def found(metadata: dict[str, str] | None = None) -> tuple[Any, Any]:
        settings = find_settings(path, metadata or {})
        assert settings.preprocess is not None
        return settings.preprocess.size, settings.names

    assert found(YOLO)[0] == (640, 480)
    assert found() == ((32, 32), ("own",))
    for name in ("net.preprocess.json", "net.labels.txt"):
        (tmp_path / name).unlink()
    assert found() == ((64, 64), ("shared",))
    for name in ("preprocess.json", "preprocessor_config.json", "labels.txt"):
        (tmp_path / name).unlink()
    assert found() == ((224, 224), ("cat", "dog"))


def test_what_the_user_gave_is_neither_read_nor_remarked(tmp_path: Path) -> None:
    path = model(tmp_path, {"preprocess.json": "{", "labels.txt": "cat\n"})

    assert find_settings(path, YOLO, preprocess=False, names=False) == Found()
    assert find_settings(path, {}, preprocess=False).names == ("cat",)
    assert find_settings(path, {}, preprocess=False).preprocess is None


def test_the_size_of_the_network_replaces_a_stated_one(tmp_path: Path) -> None:
    path = model(tmp_path, {"preprocess.json": Preprocess.lite(32).to_dict()})

    found = find_settings(path, {}, size=(48, 64))

    assert found.preprocess is not None
    assert found.preprocess.size == (48, 64)
    assert found.remarks[1] == (
        "The preprocessing states an input of 32 × 32 pixels (height × width), but the network "
        "takes 48 × 64. 48 × 64 is used."
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("preprocess.json", "{"),
        ("preprocess.json", "[1]"),
        ("preprocess.json", '{"size": [224, 224], "fit": "crop", "mean": [0], "std": [1]}'),
        ("preprocessor_config.json", "[]"),
        ("preprocessor_config.json", "\0"),
        ("config.json", "3"),
        ("config.json", '{"pretrained_cfg": 3}'),
        ("config.json", '{"pretrained_cfg": {"input_size": "large"}}'),
        ("config.json", '{"id2label": {"0": 3}}'),
        ("config.json", '{"pretrained_cfg": {}, "label_names": [3]}'),
        ("labels.txt", ""),
        ("labels.txt", "a\0b"),
        ("net.labels.txt", "x" * 20_000),
    ],
)
def test_damaged_files_are_named_and_the_search_goes_on(
    tmp_path: Path, name: str, content: str
) -> None:
    found = find_settings(model(tmp_path, {name: content}), {})

    assert (found.preprocess, found.names) == (None, None)
    assert found.remarks
    for remark in found.remarks:
        assert f"not read from {name} in the folder of net.onnx: " in remark


@pytest.mark.parametrize("name", ["labels.txt", "preprocess.json", "config.json"])
def test_links_to_nothing_and_folders_are_named(tmp_path: Path, name: str) -> None:
    path = model(tmp_path)
    (tmp_path / name).symlink_to(tmp_path / "nothing")
    assert "no file" in find_settings(path, {}).remarks[0]
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(name)
    assert "not read" in find_settings(path, {}).remarks[0]
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert "is a folder" in find_settings(path, {}).remarks[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFOs")
def test_a_pipe_does_not_block_the_search(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.txt")

    assert "not a regular file" in find_settings(model(tmp_path), {}).remarks[0]


def test_labels_that_link_out_of_the_folder_are_not_read(tmp_path: Path) -> None:
    """Lines of a private file would appear in results that are sent to others."""
    folder = tmp_path / "download"
    folder.mkdir()
    (tmp_path / "private.txt").write_text("secret\n")
    (folder / "labels.txt").symlink_to(tmp_path / "private.txt")

    found = find_settings(folder / "net.onnx", {})

    assert found.names is None
    assert "link to a file in another folder" in found.remarks[0]


@given(
    st.dictionaries(
        st.sampled_from(sorted({**MODEL_INFO, **YOLO, "pad_value": "", "orig_height": ""})),
        st.text(max_size=30) | st.sampled_from(sorted({*MODEL_INFO.values(), *YOLO.values()})),
    )
)
def test_any_metadata_is_read_or_named(metadata: dict[str, str]) -> None:
    found = find_settings(Path("no folder/net.onnx"), metadata, size=(8, 8))

    for remark in found.remarks:
        assert remark.isprintable()
        assert len(remark) < 500
    assert found.names is None or all(isinstance(name, str) for name in found.names)
