"""The score bank: every class and variant later, without the model, and from a file."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import reference
import scorecam
from networks import CLASSES, NETWORKS, InPlace, Network, Residual, Signal, build, images_for
from random_banks import NAMES, identical, make_bank, scaled, through_a_file
from scorecam import cam
from scorecam.cam import Head, probabilities
from scorecam.testing import Spy

# ── reading ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", NETWORKS)
def test_reading_a_bank_equals_explaining_each_class_and_variant(
    kind: type[Network],
) -> None:
    network = build(kind)
    image = images_for(network)[0]
    model = scorecam.open_model(network, head="logits")
    bank = scorecam.ScoreCAM(model, network.layer).bank(image)
    first = scorecam.explain(model, image, 0, layer=network.layer)
    for target in range(CLASSES):
        for variant in reference.VARIANTS:
            fresh = scorecam.explain(model, image, target, layer=network.layer, variant=variant)
            assert torch.equal(bank.heatmap(target, variant), fresh.heatmap)
            assert torch.equal(first.of(target, variant).heatmap, fresh.heatmap)
            assert first.of(target, variant).formula == fresh.formula
            assert first.of(target, variant).target == fresh.target


def test_top_is_the_largest_columns_in_order() -> None:
    network = build(InPlace)
    images = images_for(network)
    explanation = scorecam.explain(network, images, 0, layer="norm", variant="algorithm1")
    order = network(images)[0].argsort(descending=True).tolist()
    assert [entry.target.index for entry in explanation.top(3)] == order[:3]
    assert [entry.target.index for entry in explanation.top(99)] == order
    assert all(entry.variant.name == "algorithm1" for entry in explanation.top())
    with pytest.raises(scorecam.SettingError):
        explanation.top(0)


def test_channels_that_were_not_scored_have_zero_weight() -> None:
    bank = make_bank()
    for variant in reference.VARIANTS:
        weights = bank.weights(0, variant)
        assert weights.shape == (len(bank.activations),)
        assert set(weights.nonzero()[:, 0].tolist()) <= set(bank.asked.tolist())


def test_a_contrast_is_the_heatmap_of_the_weight_difference() -> None:
    bank = make_bank()
    weights = bank.weights("a") - bank.weights("d")
    positive = torch.einsum("k,kuv->uv", weights.double(), bank.activations.double()).relu()
    truth = reference.upsampled(positive, bank.size)
    torch.testing.assert_close(bank.contrast("a", "d").double(), truth, rtol=0, atol=1e-6)
    assert not bank.contrast(2, 2).any()
    assert not torch.equal(bank.contrast(0, 3), bank.contrast(3, 0))


@pytest.mark.parametrize("wrong", ["offical", "Algorithm 1", ""])
def test_an_unknown_variant_lists_the_known_ones(wrong: str) -> None:
    with pytest.raises(scorecam.SettingError, match="no variant") as raised:
        make_bank().heatmap(0, wrong)
    assert "official, algorithm1, increase, centred, literal" in raised.value.do
    assert "auto" in raised.value.do


def test_a_custom_variant_is_used_and_its_formula_shown() -> None:
    mine = scorecam.Variant("uniform", "1", lambda answers, _: torch.ones(len(answers.scores)))
    network = build(InPlace)
    image = images_for(network)[0]
    explanation = scorecam.explain(network, image, 0, layer="norm", variant=mine)
    assert "α_k = 1" in explanation.formula
    bank = explanation.bank
    truth = bank.activations[bank.asked].sum(0).relu()
    torch.testing.assert_close(
        explanation.heatmap, reference.upsampled(truth, bank.size), rtol=0, atol=1e-5
    )


# ── save and load ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "masking",
    [{}, {"fill": 0.25}, {"fill": (0.1, -0.2, 1 / 3)}, {"align_corners": True, "epsilon": 1e-8}],
)
def test_a_bank_is_saved_and_loaded(tmp_path: Path, masking: dict[str, Any]) -> None:
    bank = make_bank(**masking)
    loaded = through_a_file(bank, tmp_path)
    assert loaded.masking == scorecam.Masking(**masking)
    assert loaded.names == NAMES


@pytest.mark.parametrize("kind", NETWORKS)
def test_maps_from_a_file_are_within_the_rounding_error(
    tmp_path: Path, kind: type[Network]
) -> None:
    bank = make_bank(kind)
    loaded = through_a_file(bank, tmp_path)
    maps = bank.activations[bank.asked].abs()
    for target in range(CLASSES):
        logit = 2**-11 * (bank.scores.amax(dim=1) - bank.scores[:, target])
        # The sum that p_t is divided by also changes: by at most 2^-11 of its entropy.
        ratio = (logit + 2**-11 * math.log(CLASSES)).expm1()
        weights = bank.weights(target, "official")[bank.asked]
        for variant, off in (("increase", logit), ("official", weights * ratio)):
            weights = bank.weights(target, variant)[bank.asked]
            most = cam.heatmap(maps, off + 2**-11 * weights.abs(), bank.size)
            moved = (loaded.heatmap(target, variant) - bank.heatmap(target, variant)).abs()
            assert (moved <= most + 1e-6 * most.max()).all()
    torch.testing.assert_close(scaled(loaded, None), scaled(bank, None), rtol=0, atol=1e-3)


def test_a_bank_of_a_signal_without_names_is_saved_and_loaded(tmp_path: Path) -> None:
    network = build(Signal)
    bank = scorecam.ScoreCAM(network, "relu").bank(images_for(network)[0])
    assert through_a_file(bank, tmp_path).names is None


@pytest.mark.parametrize("head", ["probabilities", "sigmoid", "value"])
def test_scores_other_than_logits_are_saved_exactly(tmp_path: Path, head: Head) -> None:
    """`through_a_file` compares them bit by bit. Maps are still rounded."""
    bank = make_bank(head=head)
    loaded = through_a_file(bank, tmp_path)
    assert loaded.head == head
    assert not torch.equal(loaded.scores.half().float(), loaded.scores)
    assert not torch.equal(loaded.activations, bank.activations)


def test_nonfinite_numbers_are_saved_and_loaded(tmp_path: Path) -> None:
    bank = make_bank()
    bank.activations[1, 0, 0] = torch.inf
    bank.activations[4, 0, 0] = torch.nan
    bank.scores[2] = torch.nan
    bank.scores[3, 1] = torch.nan
    bank.scores[4, 1] = torch.inf
    bank.scores[5, 1] = -torch.inf
    loaded = through_a_file(bank, tmp_path)
    assert loaded.answered.tolist() == [True, True, False, False, False, False, True]
    torch.testing.assert_close(scaled(loaded, None), scaled(bank, None), rtol=0, atol=1e-3)
    assert loaded.heatmap().any()


def test_a_bank_without_scored_masks_is_saved_and_loaded(tmp_path: Path) -> None:
    network = build(InPlace)
    bank = scorecam.ScoreCAM(network, "norm").bank(torch.zeros(network.image))
    bank = dataclasses.replace(bank, asked=bank.asked[:0], scores=bank.scores[:0])
    assert not through_a_file(bank, tmp_path).heatmap(0).any()


def test_the_models_view_is_saved_and_loaded(tmp_path: Path) -> None:
    network = build(InPlace)
    preprocess = scorecam.Preprocess(size=(24, 40), fit="squash", mean=(0.5,) * 3, std=(0.5,) * 3)
    model = scorecam.open_model(network, preprocess=preprocess)
    photo = Image.linear_gradient("L").resize((90, 60)).convert("RGB")
    bank = scorecam.explain(model, photo, layer="norm").bank
    assert bank.picture() is not None
    loaded = through_a_file(bank, tmp_path)
    assert loaded.view == bank.view
    picture = loaded.picture()
    assert picture is not None
    assert (picture.size, picture.mode) == ((40, 24), "RGB")


def test_a_bank_is_read_without_the_model(tmp_path: Path) -> None:
    network = build(InPlace)
    spy = Spy(network)
    bank = scorecam.ScoreCAM(spy, "network.norm").bank(images_for(network)[0])
    expected = scaled(bank, None, "increase")
    bank.save(tmp_path / "cat.safetensors")
    asked = len(spy.seen)
    spy.network = torch.nn.Identity()  # any further pass returns invalid scores
    loaded = scorecam.ScoreBank.load(str(tmp_path / "cat.safetensors"))
    torch.testing.assert_close(scaled(loaded, None, "increase"), expected, rtol=0, atol=1e-3)
    assert len(spy.seen) == asked


# ── a subset of classes ──────────────────────────────────────────────────────────────────────


def likely(bank: scorecam.ScoreBank, count: int) -> list[int]:
    """The columns with the largest scores, largest first."""
    return bank.image_scores.argsort(descending=True)[:count].tolist()


@pytest.mark.parametrize("count", [1, 2, np.int64(4)], ids=repr)
def test_a_count_keeps_that_many_of_the_largest_classes(count: int) -> None:
    bank = make_bank()
    largest = likely(bank, int(count))
    kept = bank.keep(count)
    assert kept.columns.tolist() == sorted(largest)
    identical(kept, bank.keep(largest))
    identical(kept, bank.keep([f" {NAMES[column].upper()} " for column in largest] * 2))
    identical(bank, kept, but=("scores", "columns"))


@pytest.mark.parametrize("classes", [5, 6, 1000, list(NAMES), range(5)], ids=repr)
def test_keeping_every_class_does_not_change_the_bank(classes: Any) -> None:
    bank = make_bank()
    assert bank.keep(classes) is bank


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("kept", [1, 2, ["a", "c", "e"]], ids=str)
def test_kept_classes_keep_their_probabilities_and_maps(
    tmp_path: Path, kind: type[Network], kept: Any
) -> None:
    bank = make_bank(kind)
    some = bank.keep(kept)
    columns = some.columns
    before = probabilities(bank.scores, "logits")[:, columns]
    after = probabilities(some.scores, "logits")[:, :-1]
    torch.testing.assert_close(after, before, rtol=1e-5, atol=0)
    torch.testing.assert_close(some.scores[:, :-1], bank.scores[:, columns], rtol=0, atol=0)
    for column in columns.tolist():
        for variant in reference.VARIANTS:
            there, here = scaled(bank, column, variant), scaled(some, column, variant)
            # Rounding of probabilities counts relative to their range.
            limit = 2e-5 if variant == "centred" else 1e-5
            torch.testing.assert_close(here, there, rtol=0, atol=limit)

    loaded = through_a_file(some, tmp_path)
    # p changes with its logarithm: by 2^-11 of log p and of the log of the sum it is divided by,
    # which is on average at most log n.
    most = 2**-11 * (before.log().abs() + math.log(CLASSES))
    after = probabilities(loaded.scores, "logits")[:, :-1]
    assert ((after / before).log().abs() <= most + 1e-6).all()


@pytest.mark.parametrize("budget", ["exact", 4])
@pytest.mark.parametrize("kind", NETWORKS)
def test_likely_classes_keep_their_maps_when_kept_and_saved(
    tmp_path: Path, kind: type[Network], budget: Any
) -> None:
    """With a reduced budget, the classes left out are predicted as one column."""
    bank = make_bank(kind, budget=budget)
    bank.save(tmp_path / "two.safetensors", classes=2)
    loaded = scorecam.ScoreBank.load(tmp_path / "two.safetensors")
    for column in likely(bank, 2):
        here, there = scaled(loaded, column), scaled(bank, column)
        torch.testing.assert_close(here, there, rtol=0, atol=2e-3)


@pytest.mark.parametrize("head", ["probabilities", "sigmoid", "value"])
def test_only_kept_scores_are_saved_exactly_if_not_logits(tmp_path: Path, head: Head) -> None:
    bank = make_bank(head=head)
    some = through_a_file(bank.keep(["b", "d"]), tmp_path)
    assert torch.equal(some.scores, bank.scores[:, [1, 3]])
    exact = dataclasses.replace(some, activations=bank.activations)
    for variant in reference.VARIANTS:
        assert torch.equal(exact.weights("d", variant), bank.weights("d", variant))


def test_a_class_not_kept_is_named_with_the_kept_ones() -> None:
    kept = make_bank().keep(["a", "c"])
    for ask in (
        kept.heatmap,
        kept.weights,
        kept.error,
        lambda name: kept.contrast("a", name),
        lambda name: kept.keep([name]),
        lambda name: kept.keep(["a", name]),
    ):
        with pytest.raises(
            scorecam.BankError, match=r"lacks d: it holds 2 .* 5 .*\(a, c\)"
        ) as raised:
            ask("d")
        assert raised.value.likely
        assert raised.value.do
    nameless = dataclasses.replace(kept, names=None)
    with pytest.raises(scorecam.BankError, match=r"lacks class 3: .*\(0, 2\)"):
        nameless.heatmap(3)
    with pytest.raises(scorecam.TargetError, match="no class 5"):
        kept.heatmap(5)
    many = dataclasses.replace(nameless, columns=torch.arange(50, 100))
    with pytest.raises(scorecam.BankError, match=r"it holds 50 .*, 68, 69, \.\.\.\)"):
        many.place(3)


def test_kept_classes_can_be_reduced_again() -> None:
    bank = make_bank()
    order = likely(bank, CLASSES)
    unlikely = bank.keep(order[2:])
    assert unlikely.keep(1).columns.tolist() == order[2:3]  # the largest of its classes
    assert unlikely.keep(3) is unlikely.keep(1000) is unlikely
    twice, once = unlikely.keep(order[3:]), bank.keep(order[3:])
    identical(once, twice, but=("scores",))
    torch.testing.assert_close(twice.scores, once.scores, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("classes", [0, -1, [], ()], ids=repr)
def test_keeping_no_class_is_refused(classes: Any) -> None:
    with pytest.raises(scorecam.SettingError, match="keeps no class") as raised:
        make_bank().keep(classes)
    assert raised.value.do


@pytest.mark.parametrize("classes", [True, False, 2.0, None], ids=repr)
def test_only_a_count_or_classes_can_be_kept(classes: Any) -> None:
    with pytest.raises(scorecam.SettingError, match=r"keep\(.*\) is neither") as raised:
        make_bank().keep(classes)
    assert raised.value.do


@pytest.mark.parametrize("classes", [["f"], [5], [-1], ["a", True], [1.5], "ab", ""], ids=repr)
def test_keeping_an_unknown_class_is_refused(classes: Any) -> None:
    with pytest.raises(scorecam.TargetError):
        make_bank().keep(classes)


def test_a_single_name_is_one_class_not_a_list_of_letters(tmp_path: Path) -> None:
    bank = dataclasses.replace(make_bank(), names=("tabby", "t", "a", "b", "y"))
    assert bank.keep("tabby").columns.tolist() == [0]
    assert bank.keep("3").columns.tolist() == [3]
    bank.save(tmp_path / "tabby.safetensors", classes="tabby")
    loaded = scorecam.ScoreBank.load(tmp_path / "tabby.safetensors")
    assert loaded.heatmap("tabby").any()
    with pytest.raises(scorecam.BankError, match="lacks t: "):
        loaded.heatmap("t")


@pytest.mark.parametrize("head", ["logits", "sigmoid"])
@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_nonfinite_score_stays_invalid_after_keeping_classes(odd: float, head: Head) -> None:
    bank = make_bank(Residual, head=head)
    bank.scores[2, 4] = odd
    kept = bank.keep(["a", "b"])
    assert kept.answered.tolist() == bank.answered.tolist()
    torch.testing.assert_close(scaled(kept, "b"), scaled(bank, "b"), rtol=0, atol=1e-5)
