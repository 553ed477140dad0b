"""A bank file is untrusted: it is read within fixed limits, or refused without a traceback."""

from __future__ import annotations

import copy
import json
import math
import os
import random
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import scorecam
from bank_files import (
    Change,
    Tensors,
    change_file,
    read_parts,
    small_bank,
    use_bank,
    with_places,
    write_as_is,
    write_raw,
    write_with_checksum,
)
from command_line import scorecam as command
from scorecam.bank import file as bankfile
from scorecam.bank import storage
from scorecam.bank.record import LONGEST_AXIS, LONGEST_TEXT, MOST_PIXELS

LONGEST_MESSAGE = 600


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "cat.safetensors"
    small_bank().save(path)
    return path


def refused(path: Any) -> scorecam.BankError:
    with pytest.raises(scorecam.BankError) as raised:
        scorecam.ScoreBank.load(path)
    assert len(str(raised.value)) <= LONGEST_MESSAGE
    assert raised.value.do
    return raised.value


def test_a_file_rewritten_without_changes_is_the_same_bank(saved: Path) -> None:
    before = saved.read_bytes()
    change_file(saved, lambda _record, _tensors: None)
    assert saved.read_bytes() == before
    use_bank(scorecam.ScoreBank.load(saved), saved.parent)


# ── one invalid value each ───────────────────────────────────────────────────────────────────


def entry(**values: Any) -> Change:
    return lambda record, _: record.update(values)


def within(part: str, **values: Any) -> Change:
    return lambda record, _: record[part].update(values)


def tensor(name: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    return lambda _, tensors: tensors.update({name: make(tensors[name])})


def put(name: str, value: torch.Tensor) -> Change:
    return lambda _, tensors: tensors.update({name: value})


def cell(name: str, value: float, *at: int) -> Change:
    def change(_: dict[str, Any], tensors: Tensors) -> None:
        tensors[name] = tensors[name].clone()
        tensors[name][at] = value

    return change


def deep(_: dict[str, Any], tensors: Tensors) -> None:
    text = b"[" * 100_000 + b"]" * 100_000
    tensors["names"] = packed(text)


def packed(text: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(zlib.compress(text, 9)), dtype=torch.uint8)


def flat_channel_marked_live(_: dict[str, Any], tensors: Tensors) -> None:
    """The last bit of `live` belongs to the flat channel."""
    tensors["live"] = tensors["live"] | 1


def huge_regions(record: dict[str, Any], tensors: Tensors) -> None:
    """A few bytes that would be gigabytes of pixels."""
    record["size"] = [2**13, 2**13]
    tensors["masks"] = torch.zeros(600, dtype=torch.uint8)


RECORD: dict[str, Change] = {
    "a huge size": entry(size=[1_000_000, 1_000_000]),
    "an axis too long": entry(size=[LONGEST_AXIS + 1, 1]),
    "too many pixels": entry(size=[2**14, MOST_PIXELS // 2**14 + 1]),
    "a size of fractions": entry(size=[24.0, 40.0]),
    "a size of booleans": entry(size=[True, True]),
    "a huge integer in the size": entry(size=[10**400, 1]),
    "a size of nine axes": entry(size=[2] * 9),
    "maps of another image": entry(size=[1, LONGEST_AXIS]),  # with long maps, see below
    "a layer of a megabyte": entry(layer="x" * (LONGEST_TEXT + 1)),
    "a layer that is a number": entry(layer=4),
    "a head of a wrong type": entry(head={"logits": 1}),
    "a masking of wrong types": within("masking", align_corners=1),
    "a fill of text": within("masking", fill="0.5"),
    "fills that are not numbers": within("masking", fill=[math.nan]),
    "an infinite fill": within("masking", fill=math.inf),
    "millions of fills": within("masking", fill=[0.0] * 70_000),
    "a negative epsilon": within("masking", epsilon=-1e-8),
    "a huge integer as epsilon": within("masking", epsilon=10**400),
    "a scale that is a list": within("masking", scale=["after"]),
    "negative passes": within("provenance", forward_passes=-1),
    "absurd passes": within("provenance", forward_passes=10**30),
    "passes that are a boolean": within("provenance", forward_passes=True),
    "seconds that are not a number": within("provenance", seconds=math.nan),
    "a huge integer as seconds": within("provenance", seconds=10**400),
    "a huge integer as seed": within("provenance", seed=10**400),
    "a model of a megabyte": within("provenance", model="m" * 200_000),
    "a device that is a list": within("provenance", device=["cpu"]),
    "remarks that are a string": within("provenance", remarks="slow"),
    "remarks that are numbers": within("provenance", remarks=[1]),
    "too many remarks": within("provenance", remarks=["r"] * 2000),
}
TENSORS: dict[str, Change] = {
    "a live channel with NaN": cell("activations", math.nan, 0, 1, 1),
    "a live channel with infinity": cell("activations", math.inf, 0, 1, 1),
    "a live channel that is flat": tensor("activations", lambda a: a[[7, 1, 2, 3, 4, 5, 6, 7]]),
    "a flat channel that is live": flat_channel_marked_live,
    "maps all zero but live": tensor("activations", torch.zeros_like),
    "more channels than maps": tensor("activations", lambda a: a[:6]),
    "a power too high": put("power", torch.tensor(164)),
    "a power too low": put("power", torch.tensor(-115)),
    "a huge power": put("power", torch.tensor(2**62)),
    "a power in a list": put("power", torch.tensor([3])),
    "scored, but not live": tensor("asked", lambda s: s | 1),
    "a masked image too few": tensor("asked", lambda s: s & 0b11110000),
    "packed channels too long": tensor("live", lambda s: s.repeat(1000)),
    "packed channels with axes": tensor("live", lambda s: s[None]),
    "logits above their largest": cell("scores", 1.0, 0, 0),
    "logits all below their largest": tensor("scores", lambda z: z - 1),
    "a logit that is not a number": cell("scores", math.nan, 0, 0),
    "finite scores with a NaN largest": cell("scores_max", math.nan, 0),
    "a NaN score of the image": cell("image_scores", math.nan, 0),
    "an infinite score of the image": cell("image_scores", math.inf, 0),
    "an axis too many": tensor("image_scores", lambda z: z[None]),
    "no columns": tensor("image_scores", lambda z: z[:0]),
    "one column too many": tensor("fill_scores", lambda z: z.repeat(2)),
    "double precision": tensor("image_scores", torch.Tensor.double),
    "bfloat16": tensor("activations", torch.Tensor.bfloat16),
    "eight bits": tensor("scores", lambda z: z.to(torch.float8_e4m3fn)),
    "columns in 64 bits": put("columns", torch.arange(5)),
    "columns twice": put("columns", torch.zeros(4, dtype=torch.int32)),
    "columns below zero": put("columns", torch.tensor([-1, 0, 1, 2], dtype=torch.int32)),
    "a tensor that banks do not have": put("gradient", torch.zeros(3)),
    "a view that is not a picture": put("view", torch.zeros(99, dtype=torch.uint8)),
    "a view with axes": put("view", torch.zeros(3, 3, dtype=torch.uint8)),
    "names for other columns": put("names", storage.pack_text(["a", "b", "c", "d"])),
    "names that are not strings": put("names", storage.pack_text(["a", "b", 3, "d", "e"])),
    "names that are lists": put("names", storage.pack_text([["a"], ["b"], [], [], []])),
    "names that are a dict": put("names", storage.pack_text({"a": 1})),
    "names nested deeply": deep,
    "names that are a bomb": put("names", packed(b'["' + b"a" * 20_000_000 + b'"]')),
    "names that are a bomb of lists": put("names", packed(b"[" + b"[]," * 5_000_000 + b"[]]")),
    "names that are a bomb of names": put("names", packed(b"[" + b'"ab",' * 700_000 + b'""]')),
    "names that are signed": put("names", torch.zeros(9, dtype=torch.int8)),
    "names followed by garbage": put("names", packed(b'["a","b","c","d","e"] x')),
    "an infinite box": put("boxes", torch.full((5, 4), math.inf)),
    "a box with one number": put("boxes", torch.tensor([[3.0, *[math.nan] * 3]] * 5)),
    "boxes of other columns": put("boxes", torch.zeros(4, 4)),
    "boxes of three axes": put("boxes", torch.zeros(5, 6)),
    "boxes in half precision": put("boxes", torch.zeros(5, 4).half()),
    "boxes in a row": put("boxes", torch.zeros(20)),
    "regions of a larger image": put("masks", torch.zeros(5 * 24 * 40 // 8 + 1).byte()),
    "regions cut short": put("masks", torch.zeros(5 * 24 * 40 // 8 - 1).byte()),
    "regions with axes": put("masks", torch.zeros(5, 24 * 40 // 8).byte()),
    "regions that are not packed": put("masks", torch.zeros(5 * 24 * 40 // 8).float()),
    "regions of a huge image": huge_regions,
}


@pytest.mark.parametrize("change", [*RECORD.values(), *TENSORS.values()], ids=[*RECORD, *TENSORS])
def test_an_invalid_value_is_refused_despite_a_valid_checksum(saved: Path, change: Change) -> None:
    if change is RECORD["maps of another image"]:
        change_file(saved, tensor("activations", lambda a: a.reshape(8, 20, 1)))
    change_file(saved, change)
    refused(saved)


HEADERS: dict[str, bytes] = {
    "a header that is a list": b"[]",
    "a header that is not JSON": b"{",
    "a header nested deeply": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "a tensor twice": b'{"power":{"dtype":"I64","shape":[],"data_offsets":[0,8]},' * 2,
    "an entry twice": b'{"power":{"dtype":"I64","dtype":"I64","shape":[],"data_offsets":[0,8]}}',
    "a tensor without a shape": b'{"power":{"dtype":"I64","data_offsets":[0,8]}}',
    "a tensor of huge shape": b'{"power":{"dtype":"I64","shape":[9223372036854775807]}}',
    "numbers without end": b'{"power":{"dtype":"I64","shape":[' + b"9" * 5000 + b"]}}",
    "a negative shape": b'{"power":{"dtype":"I64","shape":[-1]}}',
    "a type that is a list": b'{"power":{"dtype":["I64"],"shape":[]}}',
    "an unknown type": b'{"power":{"dtype":"F4","shape":[]}}',
    "metadata that is a list": b'{"__metadata__":[]}',
    "a record that is a number": b'{"__metadata__":{"scorecam":4}}',
    "a record twice": b'{"__metadata__":{"scorecam":"{}","scorecam":"{}"}}',
    "bytes that are not text": b'{"\xff":1}',
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_malformed_headers_are_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "odd.safetensors"
    write_raw(path, header, bytes(8))
    refused(path)


@pytest.mark.parametrize("length", [0, 7, 2**20 + 1, 100 * 10**6, 2**63, 2**64 - 1])
def test_a_header_longer_than_the_file_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    refused(path)


def test_tensors_that_overlap_are_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    header["fill_scores"]["data_offsets"] = header["image_scores"]["data_offsets"]
    write_raw(saved, json.dumps(header).encode(), whole[8 + length :])
    refused(saved)


def test_names_may_contain_any_text_even_lone_surrogates(
    saved: Path,
) -> None:
    names = ["\ud83d", "猫", "", 'a"\\\n', "x" * 5000]
    change_file(saved, put("names", storage.pack_text(names)))
    loaded = scorecam.ScoreBank.load(saved)
    assert list(loaded.names or ()) == names
    use_bank(loaded, saved.parent)


# ── the checksum ─────────────────────────────────────────────────────────────────────────────


def rows_permuted(_: dict[str, Any], tensors: Tensors) -> None:
    for name in ("scores", "scores_max"):
        tensors[name] = tensors[name].flip(0).contiguous()


CHANGES: dict[str, Change] = {
    "names swapped": put("names", storage.pack_text(["b", "a", "c", "d", "e"])),
    "rows permuted": rows_permuted,
    "a cell changed": cell("activations", 1.0, 0, 0, 0),
    "another layer": entry(layer="layer3"),
    "another variant of masking": within("masking", epsilon=1e-8),
    "another size": entry(size=[24, 41]),
    "other seconds": within("provenance", seconds=9.0),
    "names removed": put("names", storage.pack_text(None)),
    "an extra entry": entry(mood="good"),
    "a wrong checksum": entry(**{bankfile.CHECKSUM: "0" * 64}),
    "a checksum that is a number": entry(**{bankfile.CHECKSUM: 7}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_changed_after_saving_is_refused(saved: Path, change: Change) -> None:
    record, tensors = read_parts(saved)
    change(record, tensors)
    write_as_is(saved, record, tensors)
    assert "was changed or damaged after it was saved" in refused(saved).what


def test_a_file_without_a_checksum_still_loads(saved: Path) -> None:
    record, tensors = read_parts(saved)
    del record[bankfile.CHECKSUM]
    write_as_is(saved, record, tensors)
    use_bank(scorecam.ScoreBank.load(saved), saved.parent)


def test_a_channel_rounded_flat_by_an_old_version_still_loads(saved: Path) -> None:
    change_file(saved, TENSORS["a live channel that is flat"])
    refused(saved)
    record, tensors = read_parts(saved)
    del record[bankfile.CHECKSUM]
    write_as_is(saved, record, tensors)
    use_bank(scorecam.ScoreBank.load(saved), saved.parent)


def test_maps_that_float16_would_flatten_stay_in_float32(tmp_path: Path) -> None:
    bank = small_bank()
    bank.activations[0] = 1000 + bank.activations[0] / 1000
    bank.save(tmp_path / "bank.safetensors")
    loaded = scorecam.ScoreBank.load(tmp_path / "bank.safetensors")
    assert torch.equal(loaded.activations, bank.activations)


def test_the_largest_float32_stays_finite() -> None:
    maps = torch.tensor([[torch.finfo(torch.float32).max, 1.0]])
    assert storage.unpack_maps(storage.pack_maps(maps)).isfinite().all()


# ── paths ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    [None, 3, 0, b"cat.safetensors", "", "nul\0", "x" * 5000, "a/" * 3000, "\ud800", ["a"], 2.5],
    ids=lambda path: repr(path)[:20],
)
def test_anything_but_a_path_is_refused(path: Any) -> None:
    refused(path)
    bank = small_bank()
    if path == 0 or not isinstance(path, str) or not path or "\0" in path or len(path) > 255:
        with pytest.raises(scorecam.OutputError):
            bank.save(path)


def test_only_regular_files_are_opened(saved: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with saved.open("rb") as file:
        assert "path" in refused(file).what
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero", "/dev/stdin"):
        refused(path)
    for path in (tmp_path, "/dev/null/bank"):
        with pytest.raises(scorecam.OutputError):
            small_bank().save(path)


def test_show_refuses_a_hostile_bank_without_a_traceback(saved: Path) -> None:
    change_file(saved, RECORD["a huge size"])
    answer = command("show", saved)
    assert answer.code == 2
    assert "not a score bank" in answer.err
    assert len(answer.err) <= LONGEST_MESSAGE + 20


# ── parts of a bank made in Python ───────────────────────────────────────────────────────────


PARTS: dict[str, dict[str, Any]] = {
    "maps that are not a tensor": {"activations": [[1.0]]},
    "maps of integers": {"activations": torch.ones(8, 4, 5, dtype=torch.int64)},
    "maps in double precision": {"activations": torch.ones(8, 4, 5, dtype=torch.float64)},
    "maps on the meta device": {"activations": torch.ones(8, 4, 5, device="meta")},
    "sparse maps": {"activations": torch.ones(8, 4, 5).to_sparse()},
    "maps of one axis": {"activations": torch.ones(8, 20)},
    "maps without cells": {"activations": torch.ones(8, 0, 5)},
    "live as bools": {"live": torch.ones(8, dtype=torch.bool)},
    "live in 32 bits": {"live": torch.arange(7, dtype=torch.int32)},
    "more scored than live": {"live": torch.arange(5)},
    "a score too few": {"scores": torch.ones(5, 5)},
    "a column too few": {"scores": torch.ones(6, 4)},
    "one row": {"scores": torch.ones(6)},
    "an image of other columns": {"image_scores": torch.ones(4)},
    "a fill of other columns": {"fill_scores": torch.ones(6)},
    "too few names": {"names": ("a",)},
    "a size of three axes": {"size": (24, 40, 3)},
    "a size that is a list": {"size": [24, 40]},
    "a size of nothing": {"size": (0, 40)},
    "an unknown head": {"head": "softmax"},
    "sparse scores": {"scores": torch.ones(6, 5).to_sparse()},
    "columns that are a list": {"columns": [0, 1]},
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_inconsistent_parts_are_refused(parts: dict[str, Any]) -> None:
    import dataclasses

    with pytest.raises(scorecam.BankError, match="not the parts of a score bank") as raised:
        dataclasses.replace(small_bank(), **parts)
    assert len(str(raised.value)) <= LONGEST_MESSAGE


def test_a_bank_that_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    import dataclasses

    bank = small_bank()
    for parts in (
        {"layer": "x" * (LONGEST_TEXT + 1)},
        {"image_scores": bank.image_scores * math.nan},
        {"size": (1_000_000, 1_000_000)},
        {"activations": torch.zeros(8, 4, 5)},
    ):
        with pytest.raises(scorecam.BankError, match="cannot be saved"):
            dataclasses.replace(bank, **parts).save(tmp_path / "bank.safetensors")
    assert not list(tmp_path.iterdir())


# ── mutations ────────────────────────────────────────────────────────────────────────────────


def mutated_bytes(whole: bytes, draw: random.Random) -> bytes:
    """The file with some bytes changed, removed, moved or inserted."""
    result = bytearray(whole)
    for _ in range(draw.choice([1, 1, 2, 8])):
        at = draw.randrange(len(result) if draw.random() < 0.5 else min(1500, len(result)))
        kind = draw.randrange(5)
        if kind == 0:
            result[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            result[at : at + 8] = draw.randbytes(8)
        elif kind == 2:
            del result[at : at + draw.choice([1, 8, 500])]
        elif kind == 3:
            result[at:at] = result[: draw.choice([1, 8, 500])]
        else:
            result[at : at + 1] = draw.choice([b"\xff", b"\0", b"9" * 20, b"[", b'"', b"-", b"e"])
        result = result or bytearray(b"\0")
    return bytes(result)


VALUES: list[Any] = [
    None, True, 0, 1, -1, 2**31, 2**63, 10**30, 10**400, 0.5, -0.0, math.nan, math.inf, 1e308, "",
    "x", "\ud800", "x" * 20_000, [], [[]], {}, [0], [1, 2, 3], [24, 40], [1, 1], [2**20, 64],
    {"fill": 0}, "official", "sigmoid", "value", "probabilities",
]  # fmt: skip


def mutate_record(record: dict[str, Any], draw: random.Random) -> None:
    """Change, remove or add one entry at any depth."""
    where: Any = record
    while True:
        keys = list(where.keys()) if isinstance(where, dict) else list(range(len(where)))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(where[key], dict | list) and where[key] and draw.random() < 0.8:
            where = where[key]
            continue
        kind = draw.random()
        if kind < 0.1 and isinstance(where, dict):
            del where[key]
        elif kind < 0.15 and isinstance(where, dict):
            where["more"] = copy.deepcopy(draw.choice(VALUES))
        else:
            where[key] = copy.deepcopy(draw.choice(VALUES))
        return


def mutate_tensor(tensors: Tensors, draw: random.Random) -> None:
    """Change the type, shape or values of one tensor, remove it, or replace it by another."""
    name = draw.choice(sorted(tensors))
    old = tensors[name]
    kind = draw.randrange(7)
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors[name] = tensors[draw.choice(sorted(tensors))].clone()
    elif kind == 2:
        tensors[name] = old.to(
            draw.choice([torch.float32, torch.float16, torch.int64, torch.uint8])
        )
    elif kind == 3 and old.ndim:
        tensors[name] = old[: draw.randrange(len(old) + 1)]
    elif kind == 4:
        tensors[name] = draw.choice([old[None], old.reshape(-1), old.repeat(2, *[1] * old.ndim)])
    elif old.numel():
        flat = old.clone().reshape(-1)
        value = draw.choice([0, 1, 255, math.nan, math.inf, -math.inf, 6e4, -3.0])
        if not old.is_floating_point():
            value = draw.randrange(256)
        flat[draw.randrange(len(flat))] = value
        tensors[name] = flat.reshape(old.shape)


def attempt(path: Path) -> bool:
    """Read the file and use the bank. False if the file is refused."""
    try:
        bank = scorecam.ScoreBank.load(path)
    except scorecam.BankError as error:
        message = str(error)
    else:
        use_bank(bank, path.parent)
        return True
    assert len(message) <= LONGEST_MESSAGE
    return False


def mutations(folder: Path, count: int, seed: int) -> int:
    """Try `count` mutations of a few banks, and return how many still load."""
    draw = random.Random(seed)
    seeds: list[Path] = []
    for number, bank in enumerate(
        [
            small_bank(),
            small_bank(asked=4),
            small_bank(head="value"),
            small_bank().keep(2),
            with_places(small_bank()),
        ]
    ):
        seeds.append(folder / f"seed{number}.safetensors")
        bank.save(seeds[-1])
    path = folder / "mutated.safetensors"
    banks = 0
    for _ in range(count):
        seed_file = draw.choice(seeds)
        if draw.random() < 0.4:
            path.write_bytes(mutated_bytes(seed_file.read_bytes(), draw))
        else:
            record, tensors = read_parts(seed_file)
            for _ in range(draw.choice([1, 1, 2])):
                if draw.random() < 0.5:
                    mutate_record(record, draw)
                else:
                    mutate_tensor(tensors, draw)
            tensors = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
            write_with_checksum(path, record, tensors)
        banks += attempt(path)
    return banks


def test_a_mutated_file_is_refused_or_a_working_bank(tmp_path: Path) -> None:
    banks = mutations(tmp_path, 400, seed=7)
    assert 0 < banks < 400


# ── memory ───────────────────────────────────────────────────────────────────────────────────


LOADING = """
import resource, sys
import scorecam
path, factor, base = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
warm = scorecam.ScoreBank.load(sys.argv[4])  # libraries and threads allocate first
warm.heatmap(0)
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
import os
most = held + factor * os.path.getsize(path) + base
resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    scorecam.ScoreBank.load(path)
    print("a bank")
except scorecam.BankError as error:
    print("refused:", error.what)
"""


def loaded_within_its_limit(path: Path, warm: Path) -> str:
    """The output of a process that is limited to the documented memory."""
    limits = [str(bankfile.MEMORY_FACTOR), str(bankfile.MEMORY_BASE)]
    ended = subprocess.run(
        [sys.executable, "-c", LOADING, str(path), *limits, str(warm)],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def many_columns(_: dict[str, Any], tensors: Tensors) -> None:
    """As many columns as fit in 8 MB, with the longest names allowed."""
    columns = 400_000
    for name in ("image_scores", "fill_scores"):
        tensors[name] = torch.zeros(columns)
    tensors["columns"] = torch.zeros(1, dtype=torch.int32)
    tensors["scores"], tensors["scores_max"] = tensors["scores"][:, :2], tensors["scores_max"]
    tensors["scores"] = (tensors["scores"] - tensors["scores"].amax(dim=1, keepdim=True)).half()
    tensors["names"] = packed(json.dumps(["𝒳" + "n" * 20] * columns).encode())


def many_channels(_: dict[str, Any], tensors: Tensors) -> None:
    count = storage.MOST_CHANNELS
    tensors["activations"] = torch.rand(count, 1, 2).half() + torch.tensor([0, 1.0]).half()
    for name in ("live", "asked"):
        tensors[name] = torch.full((count // 8,), 255, dtype=torch.uint8)
    tensors["scores"] = torch.zeros(count, 5).half()
    tensors["scores_max"] = torch.zeros(count)


def many_regions(_: dict[str, Any], tensors: Tensors) -> None:
    """A region for each of many columns, which takes most of the file."""
    columns = 5000
    for name in ("image_scores", "fill_scores"):
        tensors[name] = torch.zeros(columns)
    tensors["columns"] = torch.zeros(1, dtype=torch.int32)
    tensors["scores"] = torch.zeros_like(tensors["scores"][:, :2])
    tensors["names"] = storage.pack_text(None)
    tensors["masks"] = torch.full((columns * 24 * 40 // 8,), 255, dtype=torch.uint8)


BOMBS: dict[str, Change] = {
    name: {**RECORD, **TENSORS}[name]
    for name in (
        "a huge size", "names that are a bomb", "names that are a bomb of lists",
        "names that are a bomb of names", "packed channels too long", "names nested deeply",
        "regions of a huge image",
    )
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("change", BOMBS.values(), ids=BOMBS)
def test_a_bomb_stays_within_the_memory_limit(saved: Path, change: Change) -> None:
    warm = saved.with_name("warm.safetensors")
    warm.write_bytes(saved.read_bytes())
    change_file(saved, change)
    assert loaded_within_its_limit(saved, warm).startswith("refused")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("change", [many_columns, many_channels, many_regions])
def test_the_largest_banks_stay_within_the_memory_limit(saved: Path, change: Change) -> None:
    warm = saved.with_name("warm.safetensors")
    warm.write_bytes(saved.read_bytes())
    change_file(saved, change)
    assert loaded_within_its_limit(saved, warm) == "a bank\n"


def test_the_memory_of_this_process_stays_limited() -> None:
    """A backstop: no test above used gigabytes in the test process itself."""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 6 * 2**20  # KiB on Linux
