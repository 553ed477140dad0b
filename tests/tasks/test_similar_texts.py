"""Texts as labels: CLIP and SigLIP of transformers, in Python, as a folder and as a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
import towers
from scorecam.errors import ModelError, SettingError, TargetError
from scorecam.tasks import Similar

pytestmark = pytest.mark.needs("families", "torchvision")

KINDS = ("CLIP", "Siglip")


def padded(texts: tuple[str, ...], kind: str) -> Any:
    """Token ids with the padding that the kind of network was trained with."""
    padding = {"padding": "max_length", "max_length": towers.LONGEST} if kind == "Siglip" else {}
    found = towers.tokenizer()(list(texts), return_tensors="pt", **{"padding": True, **padding})
    return {name: found[name] for name in ("input_ids", "attention_mask")}


def logits(network: Any, image: Tensor, kind: str) -> Tensor:
    """The logits of `TEXTS` that transformers gives itself, `n`."""
    with torch.no_grad():
        return network(pixel_values=image[None], **padded(towers.TEXTS, kind)).logits_per_image[0]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_logits_per_image_of_transformers(kind: str) -> None:
    network, image = towers.two_towers(kind), towers.pixels()
    task = Similar(text=towers.TEXTS, tokenizer=towers.tokenizer())
    cam = scorecam.ScoreCAM(network, task=task, runtime="eager")
    bank = cam.bank(image)

    expected = logits(network, image, kind)
    torch.testing.assert_close(bank.image_scores, expected, rtol=0, atol=1e-5)
    black = logits(network, torch.zeros_like(image), kind)
    torch.testing.assert_close(bank.fill_scores, black, rtol=0, atol=1e-5)
    assert bank.names == towers.TEXTS
    found = bank.target(towers.TEXTS[1])
    probabilities = expected.softmax(0) if kind == "CLIP" else expected.sigmoid()
    assert found.probability == pytest.approx(float(probabilities[1]), abs=1e-5)
    assert bank.head == ("logits" if kind == "CLIP" else "sigmoid")


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_tower_runs_once_and_masks_run_the_image_tower_only(kind: str) -> None:
    network: Any = towers.two_towers(kind)
    rows: dict[str, list[int]] = {"text_model": [], "vision_model": []}
    for name, found in rows.items():
        embeddings = getattr(network, name).embeddings
        embeddings.register_forward_hook(lambda *call, found=found: found.append(len(call[2])))
    task = Similar(text=towers.TEXTS, tokenizer=towers.tokenizer())
    layer = "vision_model.encoder.layers.1"
    cam = scorecam.ScoreCAM(network, layer, task=task, runtime="eager", batch_size=4)
    bank = cam.bank(towers.pixels())

    assert rows["text_model"] == [len(towers.TEXTS)]
    assert sum(rows["vision_model"]) == bank.provenance.forward_passes > 30


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_brings_its_own_tokenizer_and_photos(kind: str, tmp_path: Path) -> None:
    network = towers.two_towers(kind)
    model = scorecam.open_model(f"hf:{towers.saved(network, tmp_path / kind)}")
    assert any("no classifier" in remark for remark in model.remarks)
    found = scorecam.explain(
        model, towers.photo(), towers.TEXTS[2], task=Similar(text=towers.TEXTS)
    )

    assert model.preprocess is not None
    image = model.preprocess(towers.photo())
    expected = logits(network, image, kind)
    torch.testing.assert_close(found.bank.image_scores, expected, rtol=0, atol=1e-5)
    assert found.target.name == towers.TEXTS[2]
    assert found.on_photo().shape == (60, 80)
    assert float(found.heatmap.max()) > 0


def test_one_text_of_clip_has_the_cosine_as_its_score_and_says_so() -> None:
    network, image = towers.two_towers("CLIP"), towers.pixels()
    task = Similar(text="a dog", tokenizer=towers.tokenizer())
    found = scorecam.explain(network, image, task=task)

    scale = float(network.logit_scale.detach().exp())  # type: ignore[operator]
    expected = logits(network, image, "CLIP")[2] / scale
    assert found.target.score == pytest.approx(float(expected), abs=1e-5)
    assert (found.target.name, found.target.probability) == ("a dog", None)
    assert "The score is the cosine" in " ".join(found.provenance.remarks)


def test_one_text_of_siglip_has_a_probability_of_its_own() -> None:
    network, image = towers.two_towers("Siglip"), towers.pixels()
    task = Similar(text="a dog", tokenizer=towers.tokenizer())
    found = scorecam.explain(network, image, task=task)

    assert found.bank.names == ("not a dog", "a dog")
    assert found.target.name == "a dog"
    assert found.target.score == pytest.approx(float(logits(network, image, "Siglip")[2]), abs=1e-5)


def text_features(network: Any, kind: str) -> Tensor:
    with torch.no_grad():
        return network.get_text_features(**padded(towers.TEXTS, kind)).pooler_output


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_of_texts_can_be_given_in_place_of_a_tokenizer(kind: str) -> None:
    network, image = towers.two_towers(kind), towers.pixels()
    given = dict(zip(towers.TEXTS, text_features(network, kind), strict=True))
    bank = scorecam.explain(network, image, task=Similar(text=given)).bank
    torch.testing.assert_close(bank.image_scores, logits(network, image, kind), rtol=0, atol=1e-5)


class Tower(nn.Module):
    """The image tower alone, as it is often exported."""

    def __init__(self) -> None:
        super().__init__()
        self.inner: Any = towers.two_towers("CLIP")

    def forward(self, images: Tensor) -> Tensor:
        return self.inner.get_image_features(images).pooler_output


def test_an_image_tower_alone_takes_embeddings_of_texts_and_a_scale() -> None:
    network, image = Tower(), towers.pixels()
    given = dict(zip(towers.TEXTS, text_features(network.inner, "CLIP"), strict=True))
    expected = logits(network.inner, image, "CLIP")
    scale = float(network.inner.logit_scale.detach().exp())
    cosines = scorecam.explain(network, image, task=Similar(text=given))
    scaled = scorecam.explain(network, image, task=Similar(text=given, scale=scale))

    torch.testing.assert_close(scaled.bank.image_scores, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(cosines.bank.image_scores, expected / scale, rtol=0, atol=1e-5)
    assert (scaled.bank.head, cosines.bank.head) == ("logits", "value")
    assert "scale=" in " ".join(cosines.provenance.remarks)
    with pytest.raises(SettingError, match="no text tower"):
        scorecam.explain(network, image, task=Similar(text=towers.TEXTS))


class OpenClip(nn.Module):
    """A network with the methods of open_clip: the amounts of colours, and a text for each."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 3, 1, bias=False)
        self.words = nn.Embedding(3, 3)
        self.logit_scale = nn.Parameter(torch.tensor(2.0))
        self.context_length = 4
        with torch.no_grad():
            self.maps.weight.copy_(torch.eye(3)[:, :, None, None])
            self.words.weight.copy_(torch.eye(3))

    def encode_image(self, images: Tensor) -> Tensor:
        return self.maps(images).sum((2, 3))

    def encode_text(self, text: Tensor) -> Tensor:
        return self.words(text).sum(1)


def first_letters(texts: list[str]) -> Tensor:
    return torch.tensor([["rgb".index(text[0])] for text in texts])


def test_the_energy_is_in_the_region_that_the_text_is_about() -> None:
    image = torch.zeros(3, 5, 8)
    image[0, :2], image[1, 2, :3], image[2, 3:, 4:] = 1, 1, 1
    texts = ("red", "green", "blue")
    for text, region in zip(texts, image, strict=True):
        task = Similar(text=texts, tokenizer=first_letters)
        found = scorecam.explain(OpenClip(), image, text, layer="maps", task=task)
        heat = found.heatmap
        assert float(heat[region > 0].sum() / heat.sum()) == pytest.approx(1.0)
        amounts = image.sum((1, 2))
        expected = amounts / amounts.norm() * torch.tensor(2.0).exp()
        torch.testing.assert_close(found.bank.image_scores, expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "has no tokenizer.*tokenizer="),
        ({"tokenizer": lambda texts: texts}, "The tokenizer returned"),
        ({"tokenizer": lambda _: torch.zeros(1, 2).long()}, "for 3 texts"),
        ({"tokenizer": lambda _: 1 / 0}, "ZeroDivisionError"),
        ({"tokenizer": lambda texts: torch.zeros(len(texts), 9).long()}, "9 tokens.*at most 4"),
    ],
)
def test_texts_without_a_fitting_tokenizer_are_refused_in_words(
    options: dict[str, Any], words: str
) -> None:
    task = Similar(text=("red", "green", "blue"), **options)
    with pytest.raises(SettingError, match=words):
        scorecam.explain(OpenClip(), torch.rand(3, 5, 8), layer="maps", task=task)


def test_token_ids_of_another_tokenizer_are_refused_in_words() -> None:
    task = Similar(text=("a", "b"), tokenizer=lambda texts: torch.full((len(texts), 2), 77))
    with pytest.raises(ModelError, match=r"text tower failed.*another model's tokenizer"):
        scorecam.explain(OpenClip(), torch.rand(3, 5, 8), layer="maps", task=task)


@pytest.mark.parametrize(
    ("value", "words"),
    [(torch.zeros(3), "text 'a' has the length 0"), (torch.ones(4), "has 3 numbers.*has 4")],
)
def test_embeddings_of_texts_that_do_not_fit_are_refused(value: Tensor, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        scorecam.explain(
            OpenClip(), torch.rand(3, 5, 8), layer="maps", task=Similar(text={"a": value})
        )


def test_a_folder_without_a_tokenizer_is_refused_with_the_line_to_run(tmp_path: Path) -> None:
    folder = towers.saved(towers.two_towers("CLIP"), tmp_path / "clip", texts=False)
    model = scorecam.open_model(f"hf:{folder}")
    with pytest.raises(SettingError, match=r"tokenizer\.save_pretrained"):
        scorecam.explain(model, towers.pixels(), task=Similar(text="a cat"))


@pytest.mark.parametrize("damage", ["not JSON", "{}"])
def test_a_damaged_tokenizer_is_refused_in_words(tmp_path: Path, damage: str) -> None:
    folder = towers.saved(towers.two_towers("CLIP"), tmp_path / "clip")
    (folder / "tokenizer.json").write_text(damage)
    model = scorecam.open_model(f"hf:{folder}")
    with pytest.raises(SettingError, match="could not read the tokenizer"):
        scorecam.explain(model, towers.pixels(), task=Similar(text="a cat"))


def test_code_of_a_tokenizer_never_runs(tmp_path: Path) -> None:
    folder = towers.saved(towers.two_towers("CLIP"), tmp_path / "clip")
    ran = tmp_path / "ran"
    (folder / "own.py").write_text(f"import pathlib; pathlib.Path({str(ran)!r}).touch()\n")
    settings = folder / "tokenizer_config.json"
    values = json.loads(settings.read_text())
    values |= {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}, "tokenizer_class": "Own"}
    settings.write_text(json.dumps(values))
    model = scorecam.open_model(f"hf:{folder}")
    found = scorecam.explain(model, towers.pixels(), task=Similar(text="a cat"))
    assert found.target.name == "a cat"  # read from tokenizer.json
    assert not ran.exists()


OFFLINE = """
import sys
import torchvision_ops; torchvision_ops.define()
events = []
sys.addaudithook(lambda event, args: events.append(event) if event in (
    "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system") else None)
import scorecam, towers
from scorecam.tasks import Similar
model = scorecam.open_model(sys.argv[1])
scorecam.explain(model, towers.pixels(), task=Similar(text=towers.TEXTS), runtime="eager")
print(events)
"""


def test_a_text_connects_to_nothing(tmp_path: Path) -> None:
    folder = towers.saved(towers.two_towers("CLIP"), tmp_path / "clip")
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, f"hf:{folder}"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "helpers")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_the_whole_clip_with_token_ids_as_an_input_still_has_its_own_logits() -> None:
    network, image = towers.two_towers("CLIP"), towers.pixels()
    model = scorecam.open_model(network, masked_input="pixel_values", output="logits_per_image")
    found = scorecam.explain(model, {"pixel_values": image[None], **padded(towers.TEXTS, "CLIP")})
    torch.testing.assert_close(
        found.bank.image_scores, logits(network, image, "CLIP"), rtol=0, atol=1e-5
    )


def test_a_configuration_with_more_layers_than_weights_is_refused(tmp_path: Path) -> None:
    folder = towers.saved(towers.two_towers("CLIP"), tmp_path / "clip")
    values = json.loads((folder / "config.json").read_text())
    values["text_config"]["num_hidden_layers"] = 10**6
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match="num_hidden_layers"):
        scorecam.open_model(f"hf:{folder}")


def test_a_backbone_without_a_classifier_is_an_embedding_network(tmp_path: Path) -> None:
    import transformers

    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=32, patch_size=8
    )
    network = transformers.Dinov2Model(config).eval()
    model = scorecam.open_model(f"hf:{towers.saved(network, tmp_path / 'dino', texts=False)}")
    reference = torch.randn(3, 32, 40)
    image = torch.randn(3, 40, 32)
    found = scorecam.explain(model, image, task=Similar(reference=reference))

    with torch.no_grad():
        one, other = (network(each[None]).pooler_output[0] for each in (image, reference))
    expected = float(torch.cosine_similarity(one, other, dim=0))
    assert found.target.score == pytest.approx(expected, abs=1e-5)
    assert found.heatmap.shape == (40, 32)
    with pytest.raises(SettingError, match="no text tower"):
        scorecam.explain(model, image, task=Similar(text="a cat"))
