"""Similarity to a reference: the score, the place of the map, and what can be a reference.

`Regions` with the identity as weights is an embedding network: entry k is the number of pixels of
colour k. Under mask k only region k is left, so its cosine to a reference is that of axis k.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import scorecam
from scorecam.errors import ModelError, PhotoError, SettingError, TargetError
from scorecam.tasks import Similar
from scorecam.testing import Regions, Spy, regions

SIZES = (6, 3, 9)
SHAPES = [(40,), (5, 8), (3, 4, 5)]


def network(axes: int = 2) -> Regions:
    return Regions(torch.eye(3), axes)


def embedding(*amounts: float) -> Tensor:
    return torch.tensor(amounts)


def explained(image: Tensor, axes: int = 2, **options: Any) -> scorecam.Explanation:
    return scorecam.explain(network(axes), image, layer="maps", task=Similar(**options))


def energy(explanation: scorecam.Explanation, region: Tensor) -> float:
    heat = explanation.heatmap
    return float(heat[region > 0].sum() / heat.sum())


# ── the score and the map ────────────────────────────────────────────────────────────────────────


def test_scores_under_masks_are_cosines_computed_by_hand() -> None:
    bank = explained(regions(SIZES, 5, 8), reference=embedding(3.0, 0.0, 4.0)).bank

    own = embedding(*map(float, SIZES))
    expected = float(own @ embedding(3.0, 0.0, 4.0)) / (float(own.norm()) * 5)
    torch.testing.assert_close(bank.image_scores, torch.tensor([expected]))
    torch.testing.assert_close(bank.scores, torch.tensor([[0.6], [0.0], [0.8]]))
    assert bank.head == "value"
    assert bank.provenance.task == "similar"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", [0, 1, 2])
def test_the_maps_energy_is_in_the_region_that_is_like_the_reference(
    shape: tuple[int, ...], colour: int
) -> None:
    image = regions(SIZES, *shape)
    explanation = explained(image, len(shape), reference=torch.eye(3)[colour])

    assert explanation.heatmap.shape == shape
    assert explanation.variant.name == "centred"
    assert energy(explanation, image[colour]) == pytest.approx(1.0)


def test_the_energy_moves_with_the_region() -> None:
    image = regions(SIZES, 5, 8)
    moved = image.flip(1, 2)
    assert not torch.equal(image[1], moved[1])
    for each in (image, moved):
        found = explained(each, reference=embedding(0.0, 1.0, 0.0))
        assert energy(found, each[1]) == pytest.approx(1.0)


def test_without_a_target_the_most_similar_reference_is_explained() -> None:
    image = regions(SIZES, 5, 8)
    found = explained(image, reference={"red": torch.eye(3)[0], "blue": torch.eye(3)[2]})

    assert found.bank.names == ("red", "blue")
    assert (found.target.name, found.target.probability) == ("blue", None)
    assert energy(found, image[2]) == pytest.approx(1.0)
    assert energy(found.of("red"), image[0]) == pytest.approx(1.0)


@pytest.mark.parametrize("target", ["RED", 0, np.int64(0), "0"])
def test_a_target_is_the_name_or_index_of_a_reference(target: Any) -> None:
    task = Similar(reference={"red": torch.eye(3)[0], "blue": torch.eye(3)[2]})
    found = scorecam.explain(network(), regions(SIZES, 5, 8), target, layer="maps", task=task)
    assert found.target.name == "red"


@pytest.mark.parametrize("target", ["green", 2, -1, (1.0, 2.0)])
def test_a_target_that_is_no_reference_is_refused(target: Any) -> None:
    task = Similar(reference=[torch.eye(3)[0], torch.eye(3)[2]], names=["red", "blue"])
    with pytest.raises(TargetError):
        scorecam.explain(network(), regions(SIZES, 5, 8), target, layer="maps", task=task)


def test_maps_of_a_batch_are_those_of_each_image() -> None:
    one, other = regions(SIZES, 5, 8), regions((2, 9, 4), 5, 8)
    task = Similar(reference=list(torch.eye(3)))
    cam = scorecam.ScoreCAM(network(), "maps", task=task)
    both = cam(torch.stack([one, other]))
    for image, found in zip((one, other), both, strict=True):
        torch.testing.assert_close(found, cam(image[None])[0])
    assert not torch.equal(both[0], both[1])


def test_the_reference_is_not_masked_and_takes_one_pass() -> None:
    spy = Spy(network())
    image, reference = regions(SIZES, 5, 8), regions((1, 1, 1), 5, 8)
    task = Similar(reference=reference)
    bank = scorecam.ScoreCAM(spy, "network.maps", task=task, runtime="eager").bank(image)

    unmasked = [batch for batch in spy.seen if torch.equal(batch, reference[None])]
    assert len(unmasked) == 1
    assert bank.provenance.forward_passes == len(spy.images)


# ── references ───────────────────────────────────────────────────────────────────────────────────


def test_references_of_one_name_are_the_mean_of_their_directions() -> None:
    image = regions(SIZES, 5, 8)
    members = [embedding(9.0, 0.0, 0.0), embedding(0.0, 1.0, 0.0)]
    named = explained(image, reference={"both": members})
    listed = explained(image, reference=members, average=True, names=["both"])

    expected = torch.tensor([1.0, 1.0, 0.0]) / 2**0.5
    torch.testing.assert_close(named.bank.scores[:, 0], expected)
    torch.testing.assert_close(listed.bank.scores, named.bank.scores)
    assert listed.bank.names == named.bank.names == ("both",)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    files = [tmp_path / folder / "cat.png" for folder in ("a", "b", "c")]
    for file, colour in zip(files, ("red", "green", "blue"), strict=True):
        file.parent.mkdir()
        Image.new("RGB", (8, 5), colour).save(file)
    return files


def colours() -> scorecam.Model:
    preprocess = scorecam.Preprocess(
        size=(5, 8), fit="squash", mean=(0.0,) * 3, std=(1.0,) * 3, interpolation="nearest"
    )
    return scorecam.open_model(network(), preprocess=preprocess)


def test_photos_arrays_tensors_and_embeddings_are_references(photos: list[Path]) -> None:
    picture = Image.open(photos[0])
    red = torch.zeros(3, 5, 8)
    red[0] = 1
    arrays = [np.asarray(picture), red.sum((1, 2)).numpy()]
    same = [photos[0], str(photos[0]), picture, *arrays, red, red[None], red.sum((1, 2))]
    bank = scorecam.explain(
        colours(), regions(SIZES, 5, 8), layer="maps", task=Similar(reference=same)
    ).bank
    for column in bank.scores.T:
        torch.testing.assert_close(column, torch.tensor([1.0, 0.0, 0.0]))


def test_names_are_those_of_the_files_and_all_different(photos: list[Path]) -> None:
    task = Similar(reference=[*photos, torch.eye(3)[0]])
    found = scorecam.explain(colours(), regions(SIZES, 5, 8), layer="maps", task=task)
    assert found.bank.names == ("cat", "cat (2)", "cat (3)", "reference")
    assert found.target.name == "cat (3)"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "neither was given"),
        ({"reference": torch.ones(3), "text": "a cat"}, "both were given"),
        ({"reference": {}}, "is empty"),
        ({"reference": []}, "without references"),
        ({"reference": {"cat": []}}, "without references"),
        ({"reference": 3}, "is not a list"),
        ({"reference": [3]}, "contains 3"),
        ({"reference": torch.ones(3), "names": ["a", "b"]}, "2 names, and there are 1"),
        ({"reference": torch.ones(3), "average": "yes"}, "neither True nor False"),
        ({"text": ""}, "empty entry"),
        ({"text": ()}, "empty entry"),
        ({"text": ["a cat", "A CAT"]}, "same text twice"),
        ({"text": [3]}, "contains 3"),
        ({"text": "a cat", "names": ["cat"]}, "belong to references"),
        ({"text": "a cat", "tokenizer": 3}, "not a function"),
        ({"text": "a cat", "scale": 0}, "scale=0"),
    ],
)
def test_options_that_mean_nothing_are_refused_at_once(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Similar(**options)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (torch.zeros(3), "length 0"),
        (torch.tensor([1.0, float("nan"), 0.0]), "NaN or infinity"),
        (torch.ones(4), "has 3 numbers.*has 4"),
        ([torch.ones(3), torch.ones(4)], "has 3 numbers.*has 4"),
        ({"cat": [torch.ones(3), torch.ones(4)]}, r"\[3, 4\] numbers"),
        ({"cat": [torch.ones(3), -torch.ones(3)]}, "mean of 'cat' has the length 0"),
        (torch.zeros(3, 5, 8), "length 0"),
        (torch.zeros(2, 3, 5, 8), r"shape \(2, 3, 5, 8\)"),
        (torch.zeros(3, 2, dtype=torch.complex64).reshape(-1), "complex"),
        (torch.tensor([True, False, True]), "torch.bool"),
        (torch.zeros(3, 5, 8, dtype=torch.uint8), "raw pixels"),
    ],
)
def test_a_reference_without_a_direction_is_refused_in_words(reference: Any, words: str) -> None:
    with pytest.raises((TargetError, SettingError), match=words):
        explained(regions(SIZES, 5, 8), reference=reference)


def test_a_photo_as_reference_needs_a_preprocessing(photos: list[Path]) -> None:
    with pytest.raises(PhotoError, match="preprocess="):
        explained(regions(SIZES, 5, 8), reference=photos[0])


def test_an_image_without_an_embedding_is_refused_in_words() -> None:
    with pytest.raises(TargetError, match="embedding of the image has the length 0"):
        explained(torch.zeros(3, 5, 8), reference=torch.eye(3)[0])


# ── the embedding in the output ──────────────────────────────────────────────────────────────────


class Output(nn.Module):
    """The amounts of the colours, `b 3`, somewhere in an output of a given kind."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.maps = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.maps.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, images: Tensor) -> Any:
        maps = self.maps(images)
        amounts, tokens = maps.sum((2, 3)), maps.flatten(2).mT
        other = maps.amax((2, 3)) * torch.tensor([0.0, 1.0, 0.0])
        return {
            "tensor": amounts,
            "maps": maps,
            "tokens": tokens,
            "tuple": (tokens, amounts),
            "pooler": SimpleNamespace(last_hidden_state=-tokens, pooler_output=amounts),
            "no pooler": SimpleNamespace(last_hidden_state=tokens, pooler_output=None),
            "embeds": {"logits": other, "image_embeds": amounts, "text_embeds": other},
            "one of two": {"first": amounts, "second": other},
            "squeezed": amounts[:, 0],
            "nothing": {"count": 3},
            "whole numbers": amounts.long(),
        }[self.kind]


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("tensor", None),
        ("maps", None),
        ("tokens", None),
        ("tuple", None),
        ("pooler", None),
        ("no pooler", None),
        ("embeds", None),
        ("one of two", "first"),
        ("one of two", 0),
        ("one of two", "0"),
        ("one of two", lambda output: output["first"]),
        ("tuple", "1"),
        ("no pooler", "last_hidden_state[:, mean, :]"),
    ],
)
def test_the_embedding_is_found_or_named_in_every_kind_of_output(kind: str, place: Any) -> None:
    task = Similar(reference=torch.eye(3)[2], embedding=place)
    image = regions(SIZES, 5, 8)
    found = scorecam.explain(Output(kind), image, layer="maps", task=task)

    torch.testing.assert_close(found.bank.scores[:, 0], torch.tensor([0.0, 0.0, 1.0]))
    assert energy(found, image[2]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("maps", "mean over the positions"), ("tokens", "mean of all tokens"), ("tensor", "")],
)
def test_a_remark_states_which_mean_is_the_embedding(kind: str, words: str) -> None:
    task = Similar(reference=torch.eye(3)[2])
    remarks = " ".join(
        scorecam.explain(
            Output(kind), regions(SIZES, 5, 8), layer="maps", task=task
        ).provenance.remarks
    )
    assert words in remarks
    assert bool(words) == ("embedding" in remarks)


@pytest.mark.parametrize(
    ("kind", "place", "words"),
    [
        ("one of two", None, "'first'.*'second'.*--embedding"),
        ("nothing", None, "it holds none.*--embedding"),
        ("squeezed", None, r"shape \(1,\)"),
        ("one of two", "third", "no entry 'third'.*--embedding"),
        ("nothing", "count", "of the type int.*--embedding"),
    ],
)
def test_an_output_without_a_clear_embedding_is_refused_in_words(
    kind: str, place: Any, words: str
) -> None:
    task = Similar(reference=torch.eye(3)[2], embedding=place)
    with pytest.raises((TargetError, ModelError), match=words):
        scorecam.explain(Output(kind), regions(SIZES, 5, 8), layer="maps", task=task)


def test_what_the_model_was_opened_with_is_the_embedding() -> None:
    model = scorecam.open_model(Output("one of two"), output="first")
    task = Similar(reference=torch.eye(3)[2])
    bank = scorecam.explain(model, regions(SIZES, 5, 8), layer="maps", task=task).bank
    torch.testing.assert_close(bank.scores[:, 0], torch.tensor([0.0, 0.0, 1.0]))


def test_the_default_layer_is_found_once_for_all_references() -> None:
    spy = Spy(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    model = scorecam.open_model(spy)
    image = torch.rand(3, 9, 12)
    passes = []
    for seed in range(2):
        reference = torch.rand(4, generator=torch.Generator().manual_seed(seed))
        before = sum(map(len, spy.seen))
        found = scorecam.explain(model, image, task=Similar(reference=reference), runtime="eager")
        passes.append((sum(map(len, spy.seen)) - before, found.layer))
    assert passes[1][0] < passes[0][0]
    assert passes[0][1] == passes[1][1] == "network.1"
