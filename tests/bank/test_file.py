"""The file of a score bank: small, accurate, and refused if damaged."""

from __future__ import annotations

import contextlib
import json
import math
import resource
import zlib
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import scorecam
from command_line import NAMES, furnish, options
from command_line import refused as command_refused
from command_line import scorecam as command
from networks import NETWORKS, InPlace, Network, build, images_for
from random_banks import identical, make_bank, scaled, through_a_file
from scorecam.bank import storage
from scorecam.model import labels

# ── size ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def of_resnet50() -> scorecam.ScoreBank:
    """A bank of ResNet50's shape: all channels live and scored, class 281 predicted."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2048, 7, 7, generator=generator).relu()
    maps *= torch.rand(2048, 1, 1, generator=generator)
    logits = 2 * torch.randn(1000, generator=generator)
    logits[281] = 15.0
    shown = torch.rand(2048, 1, generator=generator)
    photo = Image.open(str(resources.files("scorecam").joinpath("data/chelsea.jpg")))
    return scorecam.ScoreBank(
        activations=maps,
        live=torch.arange(2048),
        asked=torch.arange(2048),
        scores=shown * logits + torch.randn(2048, 1000, generator=generator) / 2,
        image_scores=logits,
        fill_scores=torch.randn(1000, generator=generator),
        size=(224, 224),
        masking=scorecam.Masking(),
        head="logits",
        names=labels.imagenet(),
        layer="layer4",
        provenance=scorecam.Provenance("torchvision:resnet50", "cpu", "float32", 2050, 32, 60.0),
        view=scorecam.Preprocess.imagenet().jpeg(photo.convert("RGB")),
    )


def test_twenty_resnet50_classes_take_320_kib_and_keep_the_map(
    tmp_path: Path, of_resnet50: scorecam.ScoreBank
) -> None:
    path = tmp_path / "cat.safetensors"
    of_resnet50.save(path, classes=20)
    assert path.stat().st_size <= 320 * 1024
    loaded = scorecam.ScoreBank.load(path)
    assert loaded.target().name == labels.imagenet()[281]
    torch.testing.assert_close(scaled(loaded, None), scaled(of_resnet50, None), rtol=0, atol=2e-3)


def test_all_resnet50_classes_take_two_bytes_per_number(
    tmp_path: Path, of_resnet50: scorecam.ScoreBank
) -> None:
    through_a_file(of_resnet50, tmp_path)
    numbers = of_resnet50.activations.numel() + of_resnet50.scores.numel()
    assert (tmp_path / "bank.safetensors").stat().st_size <= 2 * numbers + 64 * 1024


# ── precision ────────────────────────────────────────────────────────────────────────────────


def numbers(most: float) -> st.SearchStrategy[float]:
    return st.floats(-most, most, width=32) | st.floats(-20, 20, width=32)


ODD = st.sampled_from([math.nan, math.inf, -math.inf])


@example([1.9999, 3 * 2.0**-37])  # the largest rounds up to a power of two
@example([0.0, -0.0])
@given(st.lists(numbers(2.0**127) | numbers(2.0**-120) | ODD, min_size=1))
def test_maps_keep_11_bits_or_2_to_the_minus_38_of_the_largest(
    values: list[float],
) -> None:
    """Error: half of float16's smallest step, 2^-24, with the largest scaled to 2^13 or more.

    Nothing is kept below float32's own smallest step.
    """
    maps = torch.tensor([values])
    loaded = storage.unpack_maps(storage.pack_maps(maps))
    finite = maps.isfinite()
    assert torch.equal(loaded[~finite].nan_to_num(7.0), maps[~finite].nan_to_num(7.0))
    before, after = maps[finite].double(), loaded[finite].double()
    if len(before):
        most = torch.maximum(2**-11 * before.abs(), 2**-38 * before.abs().max())
        assert ((after - before).abs() <= most.clamp(min=2.0**-149)).all()
    again = storage.unpack_maps(storage.pack_maps(loaded))
    torch.testing.assert_close(again, loaded, rtol=0, atol=0, equal_nan=True)


rows = st.integers(2, 6).flatmap(
    lambda columns: st.lists(
        st.lists(numbers(1000.0), min_size=columns, max_size=columns)
        | st.lists(numbers(1000.0) | ODD, min_size=columns, max_size=columns),
        min_size=1,
        max_size=4,
    )
)


@example([[0.0] * 1000, [100.0] + [0.0] * 999])
@given(rows)
def test_logits_keep_log_probabilities_to_11_bits(
    values: list[list[float]],
) -> None:
    """To 2^-11 of the logit's distance from the largest, and of the mean distance by probability.

    The first is at most −log p, the second at most the entropy, which is at most log n.
    """
    scores = torch.tensor(values)
    loaded = storage.unpack_scores("z", storage.pack_scores("z", scores, logits=True))
    finite = scores.isfinite().all(dim=1)
    assert torch.equal(loaded.isfinite().all(dim=1), finite)
    before, after = (logits[finite].double().log_softmax(dim=1) for logits in (scores, loaded))
    most = 2**-11 * 1.001 * (before.abs() + math.log(scores.shape[1]))
    float32 = 2**-22 * scores[finite].abs().amax(dim=1, keepdim=True)
    assert ((after - before).abs() <= most + float32 + 2**-23).all()
    again = storage.unpack_scores("z", storage.pack_scores("z", loaded, logits=True))
    torch.testing.assert_close(again, loaded, rtol=0, atol=0, equal_nan=True)


def test_logits_beyond_float16_are_saved_unchanged() -> None:
    """Float16 ends at 65504. A score beyond it would be lost; non-finite scores don't matter."""
    near = torch.tensor([[1e5, 1e5 - 65504, 1e5 - 300.3], [math.inf, 0.0, 1.0]])
    far = torch.tensor([[1e5, 0.0, 1 / 3], [1 / 3, 2.0, 1.0]])
    assert storage.pack_scores("z", near, logits=True)["z"].dtype == torch.float16
    assert torch.equal(storage.unpack_scores("z", storage.pack_scores("z", far, logits=True)), far)


@example(["\ud83d", "猫", ""])
@given(st.lists(st.text(st.characters(exclude_categories=()))))
def test_names_with_any_characters_are_saved_and_loaded(names: list[str]) -> None:
    """Even lone surrogates: UTF-8 cannot encode them, but JSON files may contain them."""
    assert storage.unpack_text(storage.pack_text(names)) == names


# ── few masks ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_few_mask_bank_saves_only_the_scored_masks(tmp_path: Path, kind: type[Network]) -> None:
    network = build(kind)
    bank = scorecam.ScoreCAM(network, network.layer, budget=4).bank(images_for(network)[0])
    assert 0 < len(bank.asked) < len(bank.live)
    loaded = through_a_file(bank, tmp_path)
    assert not loaded.exact
    stored = safetensors.torch.load_file(tmp_path / "bank.safetensors")
    assert len(stored["scores"]) == len(stored["scores_max"]) == len(bank.asked)
    # The error is sampled with the same seed; rounding of the scores changes it slightly.
    assert loaded.error() == pytest.approx(bank.error(), rel=0.01)
    torch.testing.assert_close(scaled(loaded, None), scaled(bank, None), rtol=0, atol=2e-3)


# ── a subset of classes on the command line ──────────────────────────────────────────────────


@pytest.fixture
def two_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved bank with two of five classes."""
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    command("explain", "cat.png", *options("tiny"), "--target", "tabby")
    bank = scorecam.ScoreBank.load("out/cat.safetensors")
    bank.save("two.safetensors", classes=["tabby", "lynx"])
    return Path("two.safetensors")


def test_show_draws_a_kept_class(two_classes: Path) -> None:
    answer = command("show", two_classes, "--target", "lynx", "--out", "lynx.png")
    assert answer.code == 0, answer
    assert Path("lynx.png").is_file()


def test_show_refuses_a_class_that_was_not_kept(two_classes: Path) -> None:
    answer = command("show", two_classes, "--target", "sunglasses", "--out", "shown.png")
    command_refused(answer, "lacks sunglasses", "tabby, lynx", f"of the model's {len(NAMES)}")
    assert not Path("shown.png").exists()


# ── invalid files ────────────────────────────────────────────────────────────────────────────


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
    """Rewrite the file with a changed record and changed tensors."""
    with safetensors.safe_open(path, framework="pt") as file:
        held = json.loads(file.metadata()["scorecam"])
    kept = safetensors.torch.load_file(path)
    record(held)
    tensors(kept)
    safetensors.torch.save_file(kept, path, {"scorecam": json.dumps(held)})


def test_a_file_rewritten_without_changes_still_loads(saved: Path) -> None:
    before = scorecam.ScoreBank.load(saved)
    edit(saved)
    identical(before, scorecam.ScoreBank.load(saved))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "There is no file" in refused(tmp_path / "dog.safetensors").what
    refused(tmp_path)


@pytest.mark.parametrize("part", [0, 1, 7, 8, 9, 100, -1, -400])
def test_a_truncated_file_is_refused(saved: Path, part: int) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[:part])
    refused(saved)


@pytest.mark.parametrize("content", [b"hello", b"\x00" * 100, b"\xff" * 100, b"{}", b"PK\x03\x04"])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "strange.safetensors"
    path.write_bytes(content * 10)
    refused(path)


def test_a_weights_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(build(InPlace).state_dict(), path, {"format": "pt"})
    assert "model's weights" in refused(path).likely


RECORDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "the first schema": lambda record: record.update(schema=1),
    "a later schema": lambda record: record.update(schema=3),
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
    "a negative size": lambda record: record.update(size=[-24, 40]),
    "no size": lambda record: record.update(size=None),
    "no provenance": lambda record: record.update(provenance=None),
    "an empty provenance": lambda record: record.update(provenance={}),
    "a provenance's time": lambda record: record["provenance"].update(seconds="long"),
    "an unknown provenance entry": lambda record: record["provenance"].update(mood="good"),
    **{
        f"{key} left out": lambda record, key=key: record.pop(key)
        for key in ("schema", "size", "masking", "head", "layer", "provenance")
    },
}


@pytest.mark.parametrize("change", RECORDS.values(), ids=RECORDS)
def test_an_invalid_record_is_refused(
    saved: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(saved, record=change)
    refused(saved)


@pytest.mark.parametrize("text", ["", "null", "[]", "7", '"bank"', "{", "[1, 2]"])
def test_a_malformed_record_is_refused(saved: Path, text: str) -> None:
    safetensors.torch.save_file(safetensors.torch.load_file(saved), saved, {"scorecam": text})
    refused(saved)


def put(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], None]:
    return lambda tensors: tensors.update({name: change(tensors[name]).contiguous()})


TENSORS = [
    "activations",
    "power",
    "scores",
    "scores_max",
    "live",
    "asked",
    "image_scores",
    "fill_scores",
    "names",
]


def put_text(value: Any) -> Callable[[dict[str, Tensor]], None]:
    return put("names", lambda _: storage.pack_text(value))


def put_bytes(content: bytes) -> Callable[[dict[str, Tensor]], None]:
    return put("names", lambda _: torch.tensor(list(content), dtype=torch.uint8))


def flip(channel: int) -> Callable[[Tensor], Tensor]:
    """Flip the bit of a channel in `asked` or `live`."""
    return lambda bits: bits ^ torch.tensor([128 >> channel, 0], dtype=torch.uint8)


UNFIT: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "a score too few": put("scores", lambda z: z[:-1]),
    "a column too few": put("scores", lambda z: z[:, :-1]),
    "one column": put("scores", lambda z: z[:, 0]),
    "an invalid picture": lambda held: held.update(view=torch.zeros(9, dtype=torch.uint8)),
    "scores that are integers": put("scores", lambda z: z.long()),
    "logits not relative to their largest": put("scores", lambda z: z.float()),
    "a largest logit too few": put("scores_max", lambda z: z[:-1]),
    "one largest logit for all": put("scores_max", lambda z: z[:1]),
    "largest logits in half precision": put("scores_max", lambda z: z.half()),
    "a scored channel too few": put("asked", flip(0)),
    "a scored channel without a mask": put("asked", lambda s: flip(0)(flip(1)(s))),
    "scored channels that are not live": put("live", torch.zeros_like),
    "a list of channels too short": put("asked", lambda s: s[:-1]),
    "a list of channels too long": put("live", lambda s: s.repeat(2)),
    "a list of channels in fractions": put("asked", lambda s: s.float()),
    "a column of the image too few": put("image_scores", lambda z: z[:-1]),
    "an image without finite scores": put("image_scores", lambda z: z / 0),
    "an axis of the fill too many": put("fill_scores", lambda z: z[None]),
    "one map": put("activations", lambda a: a[0]),
    "maps too few": put("activations", lambda a: a[:2]),
    "maps without cells": put("activations", lambda a: a[:, :0]),
    "maps that are integers": put("activations", lambda a: a.long()),
    "maps that are not scaled": put("activations", lambda a: a.float()),
    "two powers of two": put("power", lambda p: p.repeat(2)),
    "a power that is a fraction": put("power", lambda p: p / 2),
    "a power too low": put("power", lambda p: p - 10_000),
    "too few names": put_text(["a", "b"]),
    "a number for names": put_text(5),
    "one word for names": put_text("abcde"),
    "names that are not UTF-8": put_bytes(zlib.compress(b'["\xff"]')),
    "truncated names": put("names", lambda text: text[:-6]),
    "names that are not compressed": put_bytes(b'["a", "b", "c", "d", "e"]'),
    "a list of columns although all are kept": lambda held: held.update(columns=torch.arange(5)),
    **{f"{name} left out": lambda held, name=name: held.pop(name) for name in TENSORS},
}


@pytest.mark.parametrize("change", UNFIT.values(), ids=UNFIT)
def test_inconsistent_tensors_are_refused(
    saved: Path, change: Callable[[dict[str, Tensor]], object]
) -> None:
    edit(saved, tensors=change)
    refused(saved)


@pytest.mark.parametrize(
    "columns", [[0], [0, 1, 2], [2, 2], [0, 5], [-1, 2], [[0, 2]], []], ids=str
)
def test_invalid_kept_columns_are_refused(tmp_path: Path, columns: Any) -> None:
    path = tmp_path / "two.safetensors"
    make_bank().save(path, classes=[0, 2])
    edit(path)
    assert scorecam.ScoreBank.load(path).columns.tolist() == [0, 2]
    edit(path, tensors=put("columns", lambda c: torch.tensor(columns, dtype=c.dtype)))
    refused(path)


# ── no partial files ─────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def files_of_at_most(limit: int) -> Iterator[None]:
    """Writing more to one file fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_only_the_old_file_stays(saved: Path) -> None:
    before = saved.read_bytes()
    bank = make_bank(fill=0.5)
    with files_of_at_most(500), pytest.raises(scorecam.OutputError) as raised:
        bank.save(saved)
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]
    assert str(saved) in raised.value.what
    assert raised.value.do


def test_on_a_full_disk_no_new_file_is_left(tmp_path: Path) -> None:
    bank = make_bank()
    with files_of_at_most(500), pytest.raises(scorecam.OutputError):
        bank.save(tmp_path / "new.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_saving_leaves_no_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def interrupted(path: Path, content: bytes) -> None:
        path.write_text(content[:20].decode("ascii", "replace"), "utf-8")
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_bank(fill=0.5).save(saved)
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


def test_an_unwritable_path_is_an_output_error(saved: Path) -> None:
    bank = make_bank()
    (saved.parent / "folder").mkdir()
    for path in (saved / "inside.safetensors", saved.parent / "folder", saved.parent / ("x" * 300)):
        with pytest.raises(scorecam.OutputError):
            bank.save(path)
    assert sorted(file.name for file in saved.parent.iterdir()) == [saved.name, "folder"]
    assert list((saved.parent / "folder").iterdir()) == []
