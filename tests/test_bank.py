"""The score bank: every class and variant later, without the model, and from a file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

import reference
import scorecam
from networks import CLASSES, NETWORKS, InPlace, Network, Signal, build, images_for
from scorecam.testing import Spy

TENSORS = ("activations", "asked", "scores", "image_scores", "fill_scores")


def make_bank(kind: type[Network] = InPlace, **masking: Any) -> scorecam.ScoreBank:
    network = build(kind)
    model = scorecam.open_model(network, head="logits", labels=["a", "b", "c", "d", "e"])
    cam = scorecam.ScoreCAM(model, network.layer, masking=scorecam.Masking(**masking))
    return cam.bank(images_for(network)[0])


# ── reading it ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_class_and_variant_from_one_bank_is_what_explaining_it_afresh_gives(
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
    assert [each.target.index for each in explanation.top(3)] == order[:3]
    assert [each.target.index for each in explanation.top(99)] == order
    assert all(each.variant.name == "algorithm1" for each in explanation.top())
    with pytest.raises(scorecam.SettingError):
        explanation.top(0)


def test_the_weights_of_channels_that_were_not_asked_are_zero() -> None:
    bank = make_bank()
    for variant in reference.VARIANTS:
        weights = bank.weights(0, variant)
        assert weights.shape == (len(bank.activations),)
        assert set(weights.nonzero()[:, 0].tolist()) <= set(bank.asked.tolist())


def test_the_contrast_is_the_heatmap_of_the_difference_of_the_weights() -> None:
    bank = make_bank()
    weights = bank.weights("a") - bank.weights("d")
    positive = torch.einsum("k,kuv->uv", weights.double(), bank.activations.double()).relu()
    truth = reference.upsampled(positive, bank.size)
    torch.testing.assert_close(bank.contrast("a", "d").double(), truth, rtol=0, atol=1e-6)
    assert not bank.contrast(2, 2).any()
    assert not torch.equal(bank.contrast(0, 3), bank.contrast(3, 0))


@pytest.mark.parametrize("wrong", ["offical", "Algorithm 1", ""])
def test_an_unknown_variant_is_answered_with_the_known_ones(wrong: str) -> None:
    with pytest.raises(scorecam.SettingError, match="no variant") as raised:
        make_bank().heatmap(0, wrong)
    assert "official, algorithm1, increase, literal" in raised.value.do


def test_a_variant_of_ones_own_is_used_and_its_formula_shown() -> None:
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


def same(one: scorecam.ScoreBank, other: scorecam.ScoreBank) -> bool:
    rest = [field.name for field in dataclasses.fields(one) if field.name not in TENSORS]
    return all(getattr(one, name) == getattr(other, name) for name in rest) and all(
        torch.equal(getattr(one, name).nan_to_num(7e7), getattr(other, name).nan_to_num(7e7))
        and getattr(one, name).dtype == getattr(other, name).dtype
        for name in TENSORS
    )


@pytest.mark.parametrize(
    "masking",
    [{}, {"fill": 0.25}, {"fill": (0.1, -0.2, 1 / 3)}, {"align_corners": True, "epsilon": 1e-8}],
)
def test_a_bank_comes_back_from_its_file_exactly(tmp_path: Path, masking: dict[str, Any]) -> None:
    bank = make_bank(**masking)
    bank.save(tmp_path / "cat.safetensors")
    loaded = scorecam.ScoreBank.load(tmp_path / "cat.safetensors")
    assert same(bank, loaded)
    assert loaded.masking == scorecam.Masking(**masking)
    for variant in reference.VARIANTS:
        assert torch.equal(loaded.heatmap("c", variant), bank.heatmap("c", variant))


def test_a_bank_of_a_signal_without_names_comes_back_exactly(tmp_path: Path) -> None:
    network = build(Signal)
    bank = scorecam.ScoreCAM(network, "relu").bank(images_for(network)[0])
    bank.save(str(tmp_path / "beat.safetensors"))
    loaded = scorecam.ScoreBank.load(str(tmp_path / "beat.safetensors"))
    assert same(bank, loaded)
    assert loaded.names is None


def test_what_was_not_finite_comes_back_too(tmp_path: Path) -> None:
    bank = make_bank()
    bank.activations[1, 0, 0] = torch.inf
    bank.scores[2] = torch.nan
    bank.save(tmp_path / "odd.safetensors")
    loaded = scorecam.ScoreBank.load(tmp_path / "odd.safetensors")
    assert same(bank, loaded)
    assert loaded.answered.tolist() == bank.answered.tolist()
    assert torch.equal(loaded.heatmap(0), bank.heatmap(0))


def test_a_bank_in_which_nothing_was_asked_comes_back(tmp_path: Path) -> None:
    network = build(InPlace)
    bank = scorecam.ScoreCAM(network, "norm").bank(torch.zeros(network.image))
    bank = dataclasses.replace(bank, asked=bank.asked[:0], scores=bank.scores[:0])
    bank.save(tmp_path / "empty.safetensors")
    loaded = scorecam.ScoreBank.load(tmp_path / "empty.safetensors")
    assert same(bank, loaded)
    assert not loaded.heatmap(0).any()


def test_what_the_model_saw_comes_back_as_the_same_picture(tmp_path: Path) -> None:
    network = build(InPlace)
    preprocess = scorecam.Preprocess(size=(24, 40), fit="squash", mean=(0.5,) * 3, std=(0.5,) * 3)
    model = scorecam.open_model(network, preprocess=preprocess)
    photo = Image.linear_gradient("L").resize((90, 60)).convert("RGB")
    bank = scorecam.explain(model, photo, layer="norm").bank
    assert bank.picture() is not None
    bank.save(tmp_path / "seen.safetensors")
    loaded = scorecam.ScoreBank.load(tmp_path / "seen.safetensors")
    assert loaded.view == bank.view
    picture = loaded.picture()
    assert picture is not None
    assert (picture.size, picture.mode) == ((40, 24), "RGB")


def test_a_bank_is_read_without_the_model(tmp_path: Path) -> None:
    network = build(InPlace)
    spy = Spy(network)
    bank = scorecam.ScoreCAM(spy, "network.norm").bank(images_for(network)[0])
    expected = bank.heatmap(3, "increase")
    bank.save(tmp_path / "cat.safetensors")
    asked = len(spy.seen)
    spy.network = torch.nn.Identity()  # whoever asks it now gets nonsense
    loaded = scorecam.ScoreBank.load(tmp_path / "cat.safetensors")
    assert torch.equal(loaded.heatmap(3, "increase"), expected)
    assert len(spy.seen) == asked


def test_saving_replaces_a_file_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "cat.safetensors"
    make_bank().save(path)
    make_bank(fill=0.5).save(path)
    assert scorecam.ScoreBank.load(path).masking.fill == 0.5
    assert [file.name for file in path.parent.iterdir()] == ["cat.safetensors"]


def test_whoever_reads_the_old_file_while_it_is_replaced_reads_all_of_it(tmp_path: Path) -> None:
    path, held = tmp_path / "cat.safetensors", tmp_path / "held"
    make_bank().save(path)
    before = path.read_bytes()
    held.hardlink_to(path)
    make_bank(fill=0.5).save(path)
    assert held.read_bytes() == before != path.read_bytes()


# ── files that are no banks ──────────────────────────────────────────────────────────────────


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "cat.safetensors"
    make_bank().save(path)
    return path


def refused(path: Path) -> scorecam.BankError:
    with pytest.raises(scorecam.BankError) as raised:
        scorecam.ScoreBank.load(path)
    assert str(path) in raised.value.what
    assert raised.value.do
    return raised.value


def edit(
    path: Path,
    record: Callable[[dict[str, Any]], object] = lambda _: None,
    tensors: Callable[[dict[str, Tensor]], object] = lambda _: None,
) -> None:
    """Write the file again with its record and its tensors changed."""
    with safetensors.safe_open(path, framework="pt") as file:
        held = json.loads(file.metadata()["scorecam"])
    kept = safetensors.torch.load_file(path)
    record(held)
    tensors(kept)
    safetensors.torch.save_file(kept, path, {"scorecam": json.dumps(held)})


def test_a_file_edited_to_nothing_else_still_loads(saved: Path) -> None:
    before = scorecam.ScoreBank.load(saved)
    edit(saved)
    assert same(before, scorecam.ScoreBank.load(saved))


def test_a_missing_file_is_said_to_be_missing_and_a_folder_is_no_bank(tmp_path: Path) -> None:
    assert "There is no file" in refused(tmp_path / "dog.safetensors").what
    refused(tmp_path)


@pytest.mark.parametrize("part", [0, 1, 7, 8, 9, 100, -1, -400])
def test_a_file_that_was_cut_short_is_refused(saved: Path, part: int) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[:part])
    refused(saved)


@pytest.mark.parametrize("content", [b"hello", b"\x00" * 100, b"\xff" * 100, b"{}", b"PK\x03\x04"])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "strange.safetensors"
    path.write_bytes(content * 10)
    refused(path)


def test_a_models_weights_are_no_bank(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(build(InPlace).state_dict(), path, {"format": "pt"})
    assert "model's weights" in refused(path).likely


RECORDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a later schema": lambda record: record.update(schema=2),
    "an unknown head": lambda record: record.update(head="softmax"),
    "a list of heads": lambda record: record.update(head=["logits"]),
    "an unknown masking": lambda record: record["masking"].update(blur=3),
    "a masking's scale": lambda record: record["masking"].update(scale="sideways"),
    "a masking's epsilon": lambda record: record["masking"].update(epsilon=-1),
    "a masking's fill": lambda record: record["masking"].update(fill="grey"),
    "a masking's fills": lambda record: record["masking"].update(fill=[[0.0]]),
    "no masking": lambda record: record.update(masking=None),
    "one axis too few": lambda record: record.update(size=[24]),
    "one axis too many": lambda record: record.update(size=[24, 40, 3]),
    "a size in words": lambda record: record.update(size=["a", "b"]),
    "no pixels": lambda record: record.update(size=[0, 40]),
    "less than no pixels": lambda record: record.update(size=[-24, 40]),
    "no size": lambda record: record.update(size=None),
    "too few names": lambda record: record.update(names=["a", "b"]),
    "a number for names": lambda record: record.update(names=5),
    "no provenance": lambda record: record.update(provenance=None),
    "an empty provenance": lambda record: record.update(provenance={}),
    "a provenance's time": lambda record: record["provenance"].update(seconds="long"),
    "an unknown provenance": lambda record: record["provenance"].update(mood="good"),
    **{
        f"{key} left out": lambda record, key=key: record.pop(key)
        for key in ("schema", "size", "masking", "head", "names", "layer", "provenance")
    },
}


@pytest.mark.parametrize("change", RECORDS.values(), ids=RECORDS)
def test_a_record_that_was_edited_is_refused(
    saved: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(saved, record=change)
    refused(saved)


@pytest.mark.parametrize("text", ["", "null", "[]", "7", '"bank"', "{", "[1, 2]"])
def test_a_record_that_is_no_record_is_refused(saved: Path, text: str) -> None:
    safetensors.torch.save_file(safetensors.torch.load_file(saved), saved, {"scorecam": text})
    refused(saved)


def put(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], None]:
    return lambda tensors: tensors.update({name: change(tensors[name]).contiguous()})


UNFIT: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "an answer too few": put("scores", lambda z: z[:-1]),
    "a column too few": put("scores", lambda z: z[:, :-1]),
    "a picture that is none": lambda held: held.update(view=torch.zeros(9, dtype=torch.uint8)),
    "scores that are integers": put("scores", lambda z: z.long()),
    "a channel asked too few": put("asked", lambda s: s[:-1]),
    "channels asked that are not there": put("asked", lambda s: s + 100),
    "negative channels": put("asked", lambda s: s - 3),
    "channels that are fractions": put("asked", lambda s: s.float()),
    "one channel asked again and again": put("asked", torch.zeros_like),
    "a column of the image too few": put("image_scores", lambda z: z[:-1]),
    "an axis of the fill too many": put("fill_scores", lambda z: z[None]),
    "one map": put("activations", lambda a: a[0]),
    "maps too few": put("activations", lambda a: a[:2]),
    "maps without cells": put("activations", lambda a: a[:, :0]),
    "maps that are integers": put("activations", lambda a: a.long()),
    **{f"{name} left out": lambda held, name=name: held.pop(name) for name in TENSORS},
}


@pytest.mark.parametrize("change", UNFIT.values(), ids=UNFIT)
def test_tensors_that_do_not_fit_together_are_refused(
    saved: Path, change: Callable[[dict[str, Tensor]], object]
) -> None:
    edit(saved, tensors=change)
    refused(saved)


# ── nothing half-written ─────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def files_of_at_most(limit: int) -> Iterator[None]:
    """Writing more to one file fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_when_the_disk_is_full_the_old_file_stays_and_nothing_else(saved: Path) -> None:
    before = saved.read_bytes()
    bank = make_bank(fill=0.5)
    with files_of_at_most(500), pytest.raises(scorecam.OutputError) as raised:
        bank.save(saved)
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]
    assert str(saved) in raised.value.what
    assert raised.value.do


def test_when_the_disk_is_full_no_new_file_is_left(tmp_path: Path) -> None:
    bank = make_bank()
    with files_of_at_most(500), pytest.raises(scorecam.OutputError):
        bank.save(tmp_path / "new.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_saving_leaves_nothing(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def interrupted(_tensors: object, path: Path, _metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(safetensors.torch, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_bank(fill=0.5).save(saved)
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


def test_a_path_that_cannot_be_written_is_an_output_error(saved: Path) -> None:
    bank = make_bank()
    (saved.parent / "folder").mkdir()
    for path in (saved / "inside.safetensors", saved.parent / "folder", saved.parent / ("x" * 300)):
        with pytest.raises(scorecam.OutputError):
            bank.save(path)
    assert sorted(file.name for file in saved.parent.iterdir()) == [saved.name, "folder"]
    assert list((saved.parent / "folder").iterdir()) == []
