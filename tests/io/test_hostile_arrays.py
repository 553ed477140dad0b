"""A foreign NumPy file is read within its size, or refused with an error."""

from __future__ import annotations

import io
import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from networks import InPlace, build
from scorecam.base.interpolation import _without_matrix, upsample
from scorecam.errors import PhotoError, ScorecamError
from scorecam.io.arrays import read_npy
from scorecam.io.reading import Kind
from scorecam.methods.method import Case
from scorecam.methods.names import parse_methods

MAP = Kind("a map", 10**6, PhotoError)


def saved(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), **options)
    return stream.getvalue()


def with_header(shape: str, descr: str = "'<f4'", data: bytes = b"", version: int = 1) -> bytes:
    """A file with a hand-written header."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


class Bomb:
    """Unpickling it creates a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("sprung",)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i2", ">i8", "|u1", "|b1"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_number_type_are_read(
    tmp_path: Path, dtype: str, version: tuple[int, int], order: Any
) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype, order=order)
    (tmp_path / "map.npy").write_bytes(saved(array, version=version))
    result = read_npy(tmp_path / "map.npy", MAP)
    np.testing.assert_array_equal(result, array)
    assert result.dtype.isnative
    torch.from_numpy(np.array(result, np.float32))


FILES: dict[str, bytes] = {
    "nothing": b"",
    "only the magic": b"\x93NUMPY",
    "truncated": saved(np.ones((3, 4)))[:-1],
    "a byte too many": saved(np.ones((3, 4))) + b"\0",
    "terabytes": with_header("(1000000, 1000000)"),
    "a shape with 3000 digits": with_header("(" + "9" * 3000 + ",)"),
    "a shape that overflows": with_header("(4294967296, 4294967296)"),
    "a negative shape": with_header("(-1,)", data=b"\0" * 4),
    "two negative axes": with_header("(-1, -1)", data=b"\0" * 4),
    "a shape in fractions": with_header("(2.0, 2)", data=b"\0" * 16),
    "a shape with a boolean": with_header("(True, 1.5)", data=b"\0" * 4),
    "a shape of text": with_header("'ab'"),
    "objects": saved(np.array([Bomb()], dtype=object)),
    "objects declared as numbers": with_header("(9,)", "'|O'", pickle.dumps([Bomb()])),
    "text": saved(np.array(["a", "bc"])),
    "bytes": saved(np.array([b"a"])),
    "dates": saved(np.array(["2020-01-01"], dtype="datetime64[D]")),
    "complex numbers": saved(np.array([1j])),
    "records": saved(np.zeros(2, dtype=[("x", "<f4"), ("y", "<i4")])),
    "records of nothing": with_header("(1000000000000,)", "'|V0'"),
    "text of nothing": with_header("(1000000000000,)", "'<U0'"),
    "an invalid type": with_header("(1,)", "'<f3'", b"\0" * 4),
    "a type that is a call": with_header("(1,)", "__import__('os').mkdir('sprung')", b"\0" * 4),
    "a header nested deeply": with_header("(" * 5000 + ")" * 5000),
    "a later version": with_header("(1,)", data=b"\0" * 4, version=9),
    "a header of four gigabytes": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"{" * 100,
    "an archive": b"PK\x03\x04" + b"\0" * 100,
    "a pickle": pickle.dumps(Bomb()),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_hostile_array_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("map.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"^its? "):
        read_npy(Path("map.npy"), MAP)
    assert not Path("sprung").exists()


def test_a_mutated_file_is_an_array_or_is_refused(tmp_path: Path) -> None:
    draw = random.Random(5)
    whole = saved(np.random.default_rng(0).random((3, 4)).astype(np.float32))
    path = tmp_path / "map.npy"
    arrays = 0
    for _ in range(2000):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 2, 5])):
            at = draw.randrange(len(content))
            content[at : at + draw.choice([0, 1])] = draw.choice([b"9", b"-", b"\0", b"\xff", b"("])
        path.write_bytes(bytes(content))
        try:
            result = read_npy(path, MAP)
        except ValueError:
            continue
        arrays += 1
        assert result.nbytes <= len(content)
    assert 0 < arrays < 2000


# ── as maps of a method ──────────────────────────────────────────────────────────────────────


def case(name: str) -> Case:
    from scorecam.backends.opening import open_model

    def ask() -> Any:
        raise AssertionError("maps from files ask nothing")

    return Case(open_model(build(InPlace)), torch.ones(3, 8, 8), 0, "norm", ask, ask, name=name)


@pytest.mark.parametrize(
    "content",
    [
        *FILES.values(),
        saved(np.full((8, 8), np.nan)),
        saved(np.full((8, 8), 1e300)),
        saved(np.ones((8, 8, 3))),
        saved(np.float32(1)),
        saved(np.ones((0, 8))),
        with_header("(0, 1000000000000)"),
    ],
)
def test_an_unusable_map_is_a_photo_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cat.npy").write_bytes(content)
    (method,) = parse_methods(f"maps:dir={tmp_path}")
    with pytest.raises(ScorecamError) as raised:
        method.heatmap(case("cat.png"))
    assert len(str(raised.value)) <= 600


def test_a_long_thin_map_needs_no_large_matrix(tmp_path: Path) -> None:
    """2 × 1,000,000 cells on 8 × 8 pixels are read; 1,000,000 on both axes would not be."""
    np.save(tmp_path / "cat.npy", np.ones((2, 1_000_000), np.uint8))
    (method,) = parse_methods(f"maps:dir={tmp_path}")
    assert method.heatmap(case("cat.png")).shape == (8, 8)
    np.save(tmp_path / "dog.npy", np.ones((1, 20_000_000), np.uint8))
    with pytest.raises(PhotoError, match="another image"):
        method.heatmap(case("dog.png"))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("grid", "size"), [((4,), (100,)), ((9,), (4,)), ((1,), (7,)), ((5,), (1,)), ((5,), (5,))]
)
def test_long_axes_are_interpolated_like_short_ones(
    grid: tuple[int, ...], size: tuple[int, ...], align_corners: bool
) -> None:
    maps = torch.rand(3, *grid, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        _without_matrix(maps, size[0], align_corners), upsample(maps, size, align_corners),
        rtol=0, atol=1e-6,
    )  # fmt: skip
