"""The specs timm:NAME and hf:FOLDER: networks, weights, preprocessing and class names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import scorecam
from scorecam.errors import MissingExtra, ModelError, WeightsError
from scorecam.images.preprocess import Preprocess
from scorecam.images.transform import Transform

families = pytest.mark.needs("families", "torchvision")


def photo() -> Image.Image:
    grain = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(grain).resize((393, 300), Image.Resampling.BICUBIC)


# ── without the libraries ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("spec", "library"), [("timm:resnet18", "timm"), ("hf:folder", "transformers")]
)
def test_a_missing_library_is_named_with_its_extra(
    spec: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        MissingExtra, match=rf"{library} is not .*scorecam\[{spec[: spec.find(':')]}"
    ):
        scorecam.open_model(spec)


# ── timm ─────────────────────────────────────────────────────────────────────────────────────


@families
def test_a_timm_network_is_explained_with_its_own_preprocessing() -> None:
    from timm.data import create_transform

    model = scorecam.open_model("timm:resnet18", weights="random")
    own = create_transform(224, interpolation="bicubic", crop_pct=0.95)

    assert model.remarks == ("The weights are random: the network is untrained.",)
    assert model.names is not None
    assert (len(model.names), model.names[281]) == (1000, "tabby")
    assert isinstance(model.preprocess, Preprocess)
    torch.testing.assert_close(model.preprocess(photo()), own(photo()))
    explanation = scorecam.explain(model, photo(), "tabby", budget=8)
    assert explanation.on_photo().shape == (300, 393)


@families
@pytest.mark.parametrize("name", ["test_vit", "levit_128s", "convnext_atto"])
def test_timm_preprocesses_as_timm_does(name: str) -> None:
    import timm

    model = scorecam.open_model(f"timm:{name}", weights="random")
    own = timm.create_model(name)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(own))

    assert model.preprocess is not None
    torch.testing.assert_close(model.preprocess(photo()), transform(photo()))


@families
@pytest.mark.parametrize(
    "overlay",
    [
        {"crop_mode": "border", "crop_pct": 1.0},
        {"crop_mode": "squash", "crop_pct": 0.8},
        {"input_size": (3, 128, 160)},
    ],
)
def test_unusual_crops_use_timms_own_transform(overlay: dict[str, Any]) -> None:
    import timm

    from scorecam.backends.zoo.timm import _preprocess

    network = timm.create_model("resnet18", pretrained_cfg_overlay=overlay)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    preprocess = _preprocess(timm, network)

    assert isinstance(preprocess, Transform)
    torch.testing.assert_close(preprocess(photo()), transform(photo()))
    assert preprocess.placement(photo().size) is not None


@families
def test_timm_weights_decide_the_number_of_classes(tmp_path: Path) -> None:
    import timm

    network = timm.create_model("test_vit", num_classes=7).eval()
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "seven.safetensors")

    model = scorecam.open_model("timm:test_vit", weights=tmp_path / "seven.safetensors")
    images = torch.randn(2, 3, 160, 160)

    assert model.names is None
    assert any("7 classes" in remark for remark in model.remarks)
    with torch.no_grad():
        torch.testing.assert_close(model.scores(images), network(images))


@families
def test_a_timm_network_without_a_classifier_says_so() -> None:
    model = scorecam.open_model("timm:vit_small_patch14_dinov2", weights="random")
    assert any("no classifier" in remark for remark in model.remarks)
    assert model.names is None


@families
@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("timm:resnet18", ["needs weights", "--weights", "--download", '"random"']),
        ("timm:resnet81", ["no network 'resnet81'", "Did you mean"]),
        ("timm:hf-hub:timm/resnet18.a1_in1k", ["no network"]),
        ("timm:local-dir:/tmp", ["no network"]),
        ("timm:resnet18.no_such_tag", ["no_such_tag"]),
    ],
)
def test_a_timm_spec_that_cannot_be_opened_is_refused(spec: str, says: list[str]) -> None:
    weights = "random" if "tag" in spec else None
    with pytest.raises(ModelError) as raised:
        scorecam.open_model(spec, weights=weights)
    for words in says:
        assert words in str(raised.value)


@families
def test_weights_of_another_timm_network_are_refused(tmp_path: Path) -> None:
    import timm

    state = timm.create_model("test_resnet").state_dict()
    safetensors.torch.save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="do not fit"):
        scorecam.open_model("timm:test_vit", weights=tmp_path / "other.safetensors")


# ── Hugging Face ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny seeded ViT of three classes, saved by transformers."""
    import transformers

    path = tmp_path / "vit"
    names = {0: "cat", 1: "dog", 2: "cow"}
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=64,
        patch_size=16,
        id2label=names,
        label2id={name: index for index, name in names.items()},
    )
    transformers.ViTForImageClassification(config).save_pretrained(path)
    transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(path)
    return path


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values), "utf-8")


@families
def test_a_hugging_face_folder_is_explained(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import transformers

    capfd.readouterr()
    model = scorecam.open_model(f"hf:{folder}")
    assert capfd.readouterr() == ("", "")
    own = transformers.ViTForImageClassification.from_pretrained(folder).eval()
    processor = transformers.ViTImageProcessor.from_pretrained(folder)
    pixels = processor(photo(), return_tensors="pt")["pixel_values"]

    assert (model.names, model.remarks) == (("cat", "dog", "cow"), ())
    with torch.no_grad():
        torch.testing.assert_close(model.scores(pixels), own(pixels).logits)
    assert isinstance(model.preprocess, Preprocess)
    torch.testing.assert_close(model.preprocess(photo())[None], pixels, atol=0.02, rtol=0)
    explanation = scorecam.explain(model, photo(), "dog")
    assert explanation.on_photo().shape == (300, 393)
    assert explanation.heatmap.shape == (64, 64)


@families
@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"shortest_edge": 70}, "crop_size": 64, "do_center_crop": True},
        {
            "size": {"shortest_edge": 70},
            "crop_size": {"height": 48, "width": 64},
            "do_center_crop": True,
        },
        {"size": 64, "resample": 3, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]},
        {"size": {"height": 64, "width": 80}, "do_normalize": False},
        {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
        {"do_rescale": False, "image_mean": [127.0] * 3, "image_std": [60.0] * 3},
    ],
)
def test_the_preprocessing_of_the_folder_gives_its_pixels(
    folder: Path, settings: dict[str, Any]
) -> None:
    import transformers

    change(folder / "preprocessor_config.json", **settings)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    preprocess = scorecam.open_model(f"hf:{folder}").preprocess
    pictures = [photo(), *(Image.new("RGB", photo().size, (grey,) * 3) for grey in (0, 255))]
    expected, black, white = processor(pictures, return_tensors="pt")["pixel_values"]

    assert preprocess is not None
    assert ((preprocess(photo()) - expected).abs() <= 2.5 / 255 * (white - black)).all()
    placement = preprocess.placement(photo().size)
    assert placement is not None
    assert (placement.box[2] - placement.box[0]) > 200


@families
def test_a_processor_can_be_the_preprocessing_of_a_network(folder: Path) -> None:
    import transformers

    processor = transformers.ViTImageProcessor.from_pretrained(folder)
    network = torch.nn.Conv2d(3, 2, 3)
    model = scorecam.open_model(network, preprocess=processor)

    assert model.preprocess is not None
    placement = model.preprocess.placement((400, 300))
    assert placement is not None
    assert placement.box == (0, 0, 400, 300)
    assert "ViTImageProcessor" in str(model.preprocess.to_dict()["transform"])


@families
def test_a_checkpoint_of_torch_is_read_from_the_folder(folder: Path) -> None:
    expected = scorecam.open_model(f"hf:{folder}")
    state = safetensors.torch.load_file(folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    images = torch.randn(1, 3, 64, 64)

    model = scorecam.open_model(f"hf:{folder}")

    torch.testing.assert_close(model.scores(images), expected.scores(images))


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@families
def test_a_checkpoint_that_runs_code_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Payload(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError):
        scorecam.open_model(f"hf:{folder}")
    assert not (tmp_path / "ran").exists()


@families
def test_other_weights_may_have_another_number_of_classes(folder: Path, tmp_path: Path) -> None:
    state = safetensors.torch.load_file(folder / "model.safetensors")
    state |= {"classifier.weight": torch.randn(5, 32), "classifier.bias": torch.zeros(5)}
    safetensors.torch.save_file(state, tmp_path / "five.safetensors")

    model = scorecam.open_model(f"hf:{folder}", weights=tmp_path / "five.safetensors")

    assert model.scores(torch.zeros(1, 3, 64, 64)).shape == (1, 5)
    assert model.names is None
    assert any("5 classes" in remark for remark in model.remarks)


@families
def test_random_weights_need_no_weights_file(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    model = scorecam.open_model(f"hf:{folder}", weights="random")
    assert model.remarks == ("The weights are random: the network is untrained.",)


@families
def test_code_in_the_folder_never_runs(folder: Path, tmp_path: Path) -> None:
    code = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\nclass Net: pass\n"
    (folder / "net.py").write_text(code)
    auto = {"AutoConfig": "net.Net", "AutoModelForImageClassification": "net.Net"}
    change(folder / "config.json", auto_map=auto, model_type="special")
    change(
        folder / "preprocessor_config.json",
        auto_map={"AutoImageProcessor": "net.Net"},
        image_processor_type="Net",
    )
    with pytest.raises(ModelError, match="no architecture 'special'"):
        scorecam.open_model(f"hf:{folder}")

    change(folder / "config.json", model_type="vit", _attn_implementation="org/kernel:attention")
    model = scorecam.open_model(f"hf:{folder}")

    assert not (tmp_path / "ran").exists()
    assert any("preprocess" in remark for remark in model.remarks)


@families
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"hidden_size": 2**16, "intermediate_size": 2**20}, "describes"),
        ({"num_hidden_layers": 3}, "missing"),
        ({"hidden_size": 34}, "with another shape"),
        ({"hidden_size": "large"}, "could not build"),
        ({"backbone": "org/resnet"}, "from elsewhere"),
        ({"id2label": {"0": "cat", "7": "dog"}}, "id2label"),
        ({"id2label": {"0": "cat\0", "1": "dog", "2": "cow"}}, "id2label"),
        ({"model_type": ["vit"]}, "no architecture"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    folder: Path, values: dict[str, Any], says: str
) -> None:
    change(folder / "config.json", **values)
    with pytest.raises(ModelError) as raised:
        scorecam.open_model(f"hf:{folder}")
    assert says in str(raised.value)


@families
@pytest.mark.parametrize("content", ["", "[]", "{", "null", "\xff"])
def test_a_damaged_configuration_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content, "latin-1")
    with pytest.raises(ModelError, match=r"config\.json"):
        scorecam.open_model(f"hf:{folder}")


@families
def test_a_folder_in_timms_format_names_the_other_spec(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architecture": "resnet18", "pretrained_cfg": {}}')
    with pytest.raises(ModelError, match="timm:resnet18"):
        scorecam.open_model(f"hf:{tmp_path}")


@families
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no-such/network", ["no folder no-such/network", "--download"]),
        ("", ["no model 'hf:'"]),
        ("\0", ["--download"]),
        (".", ["no config.json"]),
    ],
)
def test_a_missing_folder_is_refused(
    name: str, says: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as raised:
        scorecam.open_model(f"hf:{name}")
    for words in says:
        assert words in str(raised.value)


@families
def test_a_folder_without_weights_says_what_to_do(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(WeightsError, match=r"no model\.safetensors.*save_pretrained"):
        scorecam.open_model(f"hf:{folder}")


@families
def test_a_folder_with_an_index_of_shards_is_read_whole(folder: Path) -> None:
    own = scorecam.open_model(f"hf:{folder}").fingerprint()
    state = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = list(state)
    files = {"part-1.safetensors": names[::2], "part-2.safetensors": names[1::2]}
    for file, part in files.items():
        safetensors.torch.save_file({name: state[name] for name in part}, folder / file)
    listed = {name: file for file, part in files.items() for name in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": listed}))
    assert scorecam.open_model(f"hf:{folder}").fingerprint() == own


OFFLINE = """
import os, sys
import torchvision_ops; torchvision_ops.define()
before = dict(os.environ)
events = []
sys.addaudithook(lambda event, args: events.append(event) if event in (
    "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system") else None)
import scorecam
scorecam.open_model(sys.argv[1])
scorecam.open_model("timm:resnet18", weights="random")
changed = {k: v for k, v in os.environ.items() if before.get(k) != v}
print(events, changed, before.keys() - os.environ)
"""


@families
def test_opening_by_name_connects_to_nothing_and_keeps_the_environment(folder: Path) -> None:
    helpers = str(Path(__file__).parents[1] / "helpers")
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, f"hf:{folder}"],
        env=os.environ | {"PYTHONPATH": helpers},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("[] {} set()\n", 0), done.stderr


@families
def test_download_fetches_only_weights_and_settings(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    fetched: list[Any] = []

    def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
        fetched.append((name, allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    model = scorecam.open_model("hf:org/vit", download=True)

    assert model.spec == "hf:org/vit"
    [(name, patterns)] = fetched
    assert name == "org/vit"
    assert not [pattern for pattern in patterns if "*" in pattern or pattern.endswith(".py")]
