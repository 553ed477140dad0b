"""ONNX files from an attacker are refused in words, before anything large is allocated."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scorecam
import watched_process
from scorecam.backends.onnx import file_kinds

pytestmark = pytest.mark.needs("onnx")


@pytest.fixture
def files() -> Any:
    """The module that makes ONNX files. It imports onnx, which may be missing."""
    import onnx_files

    return onnx_files


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Any], Any]:
    """Save a model and read it."""
    import onnx_files
    from scorecam.backends.onnx.reading import read_onnx

    return lambda made: read_onnx(onnx_files.save(made, tmp_path / "net.onnx"))


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, inputs, outputs, **attributes)


# ── valid files ──────────────────────────────────────────────────────────────────────────────


def test_valid_files_are_read_and_run(files: Any, read: Any) -> None:
    from scorecam.backends.onnx.library import onnxruntime

    for content in files.valid():
        file = read(content)
        session = onnxruntime().InferenceSession(file.proto.SerializeToString())
        (scores,) = session.run(None, {"x": np.ones((2, 3, 8, 8), np.float32)})
        assert scores.shape[0] == 2
        assert not file.proto.functions


def test_metadata_is_read(files: Any, read: Any) -> None:
    assert read(files.classifier()).metadata["names"].startswith("{0: 'tabby'")


def test_ten_thousand_nodes_are_read_within_three_seconds(files: Any, read: Any) -> None:
    names = ["x", *(f"tensor_{i}" for i in range(9_999)), "y"]
    nodes = [node("Relu", [names[i]], [names[i + 1]], name=f"relu_{i}") for i in range(10_000)]
    start = time.monotonic()
    assert len(read(files.model(nodes)).proto.graph.node) == 10_000
    assert time.monotonic() - start < 3


def test_the_fingerprint_follows_weights_and_not_names(files: Any, tmp_path: Path) -> None:
    from scorecam.backends.onnx.reading import read_onnx

    one = read_onnx(files.save(files.classifier(0), tmp_path / "one.onnx"))
    same = read_onnx(files.save(files.classifier(0), tmp_path / "same.onnx"))
    other = read_onnx(files.save(files.classifier(1), tmp_path / "other.onnx"))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()


# ── other files ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "pointer of Git LFS"),
        (b"PK\x03\x04" + bytes(50), "a zip file"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{}", "safetensors"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(20), "TFLite"),
        (b"<?xml version='1.0'?><net/>", "OpenVINO"),
        (b"<!doctype html><html>", "web page"),
        (b"\x80\x02}q\x00.", "a pickle"),
        (b'{"a": 1}', "JSON"),
        (bytes(range(1, 200)), "truncated"),
    ],
)
def test_another_kind_of_file_is_named(content: bytes, message: str, read: Any) -> None:
    with pytest.raises(scorecam.ModelError, match=message):
        read(content)


def test_a_truncated_file_is_refused_at_every_length(files: Any, read: Any) -> None:
    content = files.classifier().SerializeToString()
    refused = 0
    for length in range(0, len(content), 7):
        try:
            read(content[:length])
        except scorecam.ModelError:
            refused += 1
    assert refused > 0.95 * len(range(0, len(content), 7)), "fields after the graph are optional"


def test_a_file_that_is_missing_a_folder_or_a_pipe_is_refused(tmp_path: Path) -> None:
    from scorecam.backends.onnx.reading import read_onnx

    os.mkfifo(tmp_path / "pipe")
    for name, message in (("absent", "no file"), (".", "a folder"), ("pipe", "regular file")):
        with pytest.raises(scorecam.ModelError, match=message):
            read_onnx(tmp_path / name)


def test_text_that_is_not_utf8_is_refused(files: Any, read: Any) -> None:
    content = files.classifier().SerializeToString().replace(b"relu", b"re\xffu")
    with pytest.raises(scorecam.ModelError, match="damaged"):
        read(content)


# ── graphs ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("part", ["node", "input", "output"])
def test_a_graph_without_nodes_inputs_or_outputs_is_refused(
    part: str, files: Any, read: Any
) -> None:
    made = files.relu()
    made.graph.ClearField(part)
    with pytest.raises(scorecam.ModelError, match=r"has no (operator|input|output)"):
        read(made)


def test_nodes_that_are_not_in_order_are_sorted(files: Any, read: Any) -> None:
    nodes = [node("Relu", ["a"], ["y"]), node("Abs", ["b"], ["c"]), node("Neg", ["x"], ["a"])]
    nodes.append(node("Neg", ["x"], ["b"]))
    found = read(files.model(nodes))
    assert [each.output[0] for each in found.proto.graph.node] == ["a", "y", "b", "c"]


def test_a_cycle_of_nodes_is_refused(files: Any, read: Any) -> None:
    cycle = [node("Add", ["x", "b"], ["a"]), node("Neg", ["a"], ["b"]), node("Neg", ["b"], ["y"])]
    with pytest.raises(scorecam.ModelError, match="computed only after it"):
        read(files.model(cycle))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("Relu", "x", "a"), ("Relu", "x", "a"), ("Relu", "a", "y")], "'a' twice"),
        ([("Relu", "x", "x")], "'x' twice"),
        ([("Relu", "nothing", "y")], "which nothing computes"),
        ([("Relu", "x", "z")], "'y', which no node computes"),
        ([("Relu", "x", "y" * 5000)], "a name of 5,000 characters"),
    ],
)
def test_wrong_names_of_tensors_are_refused(
    nodes: list[tuple[str, str, str]], message: str, files: Any, read: Any
) -> None:
    made = files.model([node(kind, [source], [result]) for kind, source, result in nodes])
    with pytest.raises(scorecam.ModelError, match=message):
        read(made)


def test_two_weights_with_one_name_are_refused(files: Any, read: Any) -> None:
    made = files.classifier()
    made.graph.initializer.append(made.graph.initializer[0])
    with pytest.raises(scorecam.ModelError, match="two tensors with the name 'kernel'"):
        read(made)


def test_graphs_nested_too_deeply_are_refused(files: Any, read: Any) -> None:
    from onnx import helper

    inner = helper.make_graph([node("Relu", ["x"], ["i"])], "g", [], [files.value("i", None)])
    for _ in range(25):
        branch = node("If", ["x"], ["i"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([branch], "g", [], [files.value("i", None)])
        inner.node[0].attribute[1].ClearField("g")
        inner.node[0].attribute[1].i = 1
    with pytest.raises(scorecam.ModelError, match="20 deep"):
        read(files.model([node("If", ["x"], ["y"], then_branch=inner)]))


def test_two_million_empty_nodes_are_refused_before_parsing(read: Any) -> None:
    body = b"\x0a\x00" * 2_100_000
    length = len(body)
    size = bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14 & 127 | 128])
    content = b"\x3a" + size + bytes([length >> 21]) + body
    start = time.monotonic()
    with pytest.raises(scorecam.ModelError, match="more than 2,000,000 entries"):
        read(content)
    assert time.monotonic() - start < 5


def test_a_graph_for_training_is_refused(files: Any, read: Any) -> None:
    made = files.relu()
    made.training_info.add()
    with pytest.raises(scorecam.ModelError, match="for training"):
        read(made)


# ── versions and operators ───────────────────────────────────────────────────────────────────


def test_a_format_or_opset_of_the_future_is_refused(files: Any, read: Any) -> None:
    from onnx import helper

    newer = files.relu(opset_imports=[helper.make_opsetid("", 99)])
    with pytest.raises(scorecam.ModelError, match=r"needs opset 99, but onnxruntime .* 1 to \d+"):
        read(newer)
    made = files.relu()
    made.ir_version = 99
    with pytest.raises(scorecam.ModelError, match="version 99 of the format"):
        read(made)


def test_a_custom_operator_is_refused(files: Any, read: Any) -> None:
    from onnx import helper

    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    made = files.model([node("Magic", ["x"], ["y"], domain="acme")], opset_imports=opsets)
    with pytest.raises(scorecam.ModelError, match="never loads libraries of custom operators"):
        read(made)
    with pytest.raises(scorecam.ModelError, match="the operator 'Magic'"):
        read(files.model([node("Magic", ["x"], ["y"])]))


def test_an_operator_of_a_later_opset_is_refused(files: Any, read: Any) -> None:
    from onnx import helper

    made = files.model([node("Gelu", ["x"], ["y"])], opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(scorecam.ModelError, match="it came with opset 20"):
        read(made)


def test_operators_of_onnx_runtime_itself_are_read(files: Any, read: Any) -> None:
    from onnx import helper

    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    made = files.model([node("Gelu", ["x"], ["y"], domain="com.microsoft")], opset_imports=opsets)
    assert read(made).proto.graph.node[0].op_type == "Gelu"


# ── functions ────────────────────────────────────────────────────────────────────────────────


def test_functions_are_replaced_by_their_nodes(files: Any, read: Any) -> None:
    made = files.with_functions(
        files.function("first", ["second", "Neg", "second"]), files.function("second", ["Relu"])
    )
    assert [one.op_type for one in read(made).proto.graph.node] == ["Relu", "Neg", "Relu"]


def test_functions_that_call_themselves_or_double_are_refused(files: Any, read: Any) -> None:
    itself = [files.function("first", ["second"]), files.function("second", ["first"])]
    names = ["first", *(f"f{i}" for i in range(40))]
    doubling = [files.function(names[i], [names[i + 1]] * 2) for i in range(40)]
    doubling.append(files.function(names[40], ["Relu"]))
    other = [files.function("first", ["Relu"], opset=12)]
    for functions, message in (
        (itself, "calls itself"),
        (doubling, "once its functions are expanded"),
        (other, "another opset"),
    ):
        with pytest.raises(scorecam.ModelError, match=message):
            read(files.with_functions(*functions))


# ── tensors ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ([2**40, 2**40], "should hold"),
        ([-4, 27], "impossible shape"),
        ([4, 3, 3, 4], "should hold 576 bytes by its shape and type, but holds 432"),
        ([1] * 100, "impossible shape"),
    ],
)
def test_a_tensor_that_claims_more_than_it_holds_is_refused(
    dims: list[int], message: str, files: Any, read: Any
) -> None:
    made = files.classifier()
    del made.graph.initializer[0].dims[:]
    made.graph.initializer[0].dims.extend(dims)
    with pytest.raises(scorecam.WeightsError, match=message):
        read(made)


def test_every_type_of_element_is_measured(files: Any) -> None:
    from onnx import helper, numpy_helper

    from scorecam.backends.onnx.tensors import BITS, check_stored

    known = set(helper.get_all_tensor_dtypes())  # an older onnx lacks the newest types
    kinds = [kind for kind in BITS if kind in known]
    assert len(kinds) > 20
    for kind in kinds:
        numbers = np.zeros(5, helper.tensor_dtype_to_np_dtype(kind))
        check_stored(helper.make_tensor("typed", kind, [5], numbers))
        check_stored(files.weight("raw", numbers))
    check_stored(numpy_helper.from_array(np.array(["a", "b"], object), "texts"))


def test_unknown_types_and_constants_inside_nodes_are_checked(files: Any, read: Any) -> None:
    made = files.classifier()
    made.graph.initializer[0].data_type = 77
    with pytest.raises(scorecam.WeightsError, match="unknown type, 77"):
        read(made)
    made = files.branches()
    made.graph.node[0].attribute[0].t.dims.append(10**9)
    with pytest.raises(scorecam.WeightsError, match="should hold"):
        read(made)


def test_sparse_weights_are_checked(files: Any, read: Any) -> None:
    made = files.relu()
    sparse = made.graph.sparse_initializer.add()
    sparse.values.CopyFrom(files.weight("sparse", np.ones(2, np.float32)))
    sparse.indices.CopyFrom(files.weight("", np.array([0, 1])))
    sparse.dims.append(2**50)
    with pytest.raises(scorecam.ModelError, match="sparse tensor"):
        read(made)


# ── tensors that are computed ────────────────────────────────────────────────────────────────


def bombs(files: Any) -> dict[str, Any]:
    """Small files that compute terabytes."""
    number, huge = files.weight("number", np.ones((1, 1), np.float32)), np.array([2**21, 2**21])
    shape = files.weight("shape", huge)
    column = files.weight("column", np.ones((2**17, 1), np.float32))
    row = files.weight("row", np.ones((1, 2**17), np.float32))
    doubled = [node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(40)]
    zero = files.weight("zero", np.array(0))
    end, step = files.weight("end", np.array(2**50)), files.weight("step", np.array(1))
    return {
        "tile": files.model([node("Tile", ["number", "shape"], ["y"])], [number, shape]),
        "expand": files.model([node("Expand", ["number", "shape"], ["y"])], [number, shape]),
        "fill": files.model([node("ConstantOfShape", ["shape"], ["y"])], [shape]),
        "range": files.model([node("Range", ["zero", "end", "step"], ["y"])], [zero, end, step]),
        "add": files.model([node("Add", ["column", "row"], ["y"])], [column, row]),
        "concat": files.model(
            [*doubled, node("Identity", ["c40"], ["y"])],
            [files.weight("c0", np.ones(1, np.float32))],
        ),
        "shapes": files.model(
            [*doubled, node("ConstantOfShape", ["c40"], ["y"])],
            [files.weight("c0", np.ones(1, int))],
        ),
        "computed": files.model(
            [node("Mul", ["shape", "shape"], ["s"]), node("Expand", ["one", "s"], ["y"])],
            [
                files.weight("shape", np.array([2**10] * 4)),
                files.weight("one", np.ones(1, np.float32)),
            ],
        ),
        "pads": files.model([node("MaxPool", ["x"], ["y"], kernel_shape=[1, 1], pads=[2**30] * 4)]),
        "random": files.model([node("RandomNormal", [], ["y"], shape=[2**20, 2**20])]),
        "many": files.model(
            [
                *(node("ConstantOfShape", ["side"], [f"c{i}"]) for i in range(50)),
                node("Sum", [f"c{i}" for i in range(50)], ["y"]),
            ],
            [files.weight("side", np.array([2**12, 2**12]))],
        ),
    }


@pytest.mark.parametrize("name", [
    "tile", "expand", "fill", "range", "add", "concat", "shapes", "computed", "pads", "random",
    "many",
])  # fmt: skip
def test_a_small_file_that_computes_terabytes_is_refused(name: str, files: Any, read: Any) -> None:
    start = time.monotonic()
    with pytest.raises(scorecam.ModelError, match="elements"):
        read(bombs(files)[name])
    assert time.monotonic() - start < 3


def test_a_thousand_repetitions_of_a_small_tensor_are_allowed(files: Any, read: Any) -> None:
    repeats = files.weight("repeats", np.array([1000, 1000]))
    number = files.weight("number", np.ones((1, 1), np.float32))
    assert read(files.model([node("Tile", ["number", "repeats"], ["y"])], [number, repeats]))


# ── external data ────────────────────────────────────────────────────────────────────────────

BYTES = np.arange(12, dtype=np.float32).tobytes()


def test_external_data_is_found_by_a_session_and_in_the_fingerprint(
    files: Any, tmp_path: Path
) -> None:
    from scorecam.backends.onnx.library import onnxruntime
    from scorecam.backends.onnx.reading import read_onnx

    made = files.external({"location": "sub/net.data", "offset": "4"})
    (tmp_path / "sub").mkdir()
    prints: set[str] = set()
    for first in (b"abcd", b"efgh", b"abcd"):
        (tmp_path / "sub" / "net.data").write_bytes(first + BYTES)
        file = read_onnx(files.save(made, tmp_path / "net.onnx"))
        prints.add(file.fingerprint())
    assert file.external == (tmp_path / "sub" / "net.data",)
    assert len(prints) == 1, "only the bytes of the weights count"
    (tmp_path / "sub" / "net.data").write_bytes(bytes(4) + BYTES[::-1])
    assert read_onnx(tmp_path / "net.onnx").fingerprint() not in prints
    options = onnxruntime().SessionOptions()
    for key, entry in file.session_entries().items():
        options.add_session_config_entry(key, entry)
    session = onnxruntime().InferenceSession(file.proto.SerializeToString(), options)
    assert session.run(None, {"x": np.ones((2, 3, 8, 8), np.float32)})[0].shape == (2, 3)


def test_links_of_a_cache_are_followed_to_the_folder_of_the_real_file(
    files: Any, tmp_path: Path
) -> None:
    from scorecam.backends.onnx.library import onnxruntime
    from scorecam.backends.onnx.reading import read_onnx

    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / "b1").write_bytes(BYTES)
    files.save(files.external({"location": "net.data"}), blobs / "a0")
    (snapshot / "net.data").symlink_to("../../blobs/b1")
    (snapshot / "net.onnx").symlink_to("../../blobs/a0")
    file = read_onnx(snapshot / "net.onnx")
    options = onnxruntime().SessionOptions()
    for key, entry in file.session_entries().items():
        options.add_session_config_entry(key, entry)
    assert onnxruntime().InferenceSession(file.proto.SerializeToString(), options)


@pytest.mark.parametrize(
    "location",
    [
        "../secret", "sub/../../secret", "/etc/passwd", "/dev/zero", "C:\\secret", "..\\secret",
        "\\\\host\\share", "", "a\0b", "*/_ORT_MEM_ADDR_/*", "link",
    ],
)  # fmt: skip
def test_external_data_outside_the_folder_is_refused(
    location: str, files: Any, tmp_path: Path
) -> None:
    from scorecam.backends.onnx.reading import read_onnx

    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(BYTES)
    (folder / "link").symlink_to("../secret")
    file = files.save(files.external({"location": location}), folder / "net.onnx")
    with pytest.raises(scorecam.WeightsError, match="not in its own folder"):
        read_onnx(file)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "absent.data"}, "no file 'absent.data'"),
        ({"location": "x" * 5000}, "no file"),
        ({"location": "net.data", "offset": "4"}, "too short"),
        ({"location": "net.data", "offset": str(10**17)}, "too short"),
        ({"location": "net.data", "length": "44"}, "48 bytes .* but 44 are announced"),
        ({"location": "net.data", "offset": "-1"}, "not a whole number"),
        ({"location": "net.data", "length": "9" * 400}, "not a whole number"),
        ({"location": "pipe"}, "not a regular file"),
        ({"location": "."}, "a folder"),
    ],
)
def test_external_data_that_is_missing_or_too_short_is_refused(
    entries: dict[str, str], message: str, files: Any, tmp_path: Path
) -> None:
    from scorecam.backends.onnx.reading import read_onnx

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "net.data").write_bytes(BYTES)
    file = files.save(files.external(entries), tmp_path / "net.onnx")
    with pytest.raises(scorecam.WeightsError, match=message):
        read_onnx(file)


# ── the libraries ────────────────────────────────────────────────────────────────────────────

RUN = """
import numpy as np, onnx_files
from scorecam.backends.onnx.library import onnxruntime
from scorecam.backends.onnx.reading import read_onnx
import os, pathlib, threading
file = read_onnx(onnx_files.save(onnx_files.classifier(), pathlib.Path("net.onnx")))
threads = len(os.listdir("/proc/self/task"))
session = onnxruntime().InferenceSession(file.proto.SerializeToString())
session.run(None, {"x": np.ones((2, 3, 8, 8), np.float32)})
del session
print("threads", threads, len(os.listdir("/proc/self/task")))
opened = [os.path.realpath(f"/proc/self/fd/{f}") for f in os.listdir("/proc/self/fd")]
print("sockets", [name for name in opened if "socket" in name])
print("environment", os.environ.get("ORT_DISABLE_TELEMETRY"))
"""


def test_reading_and_running_sends_nothing_and_writes_nothing(tmp_path: Path) -> None:
    watched = watched_process.watch(RUN, tmp_path)
    assert watched.code == 0, watched.out
    assert watched.connections() == []
    assert watched.processes() == []
    assert watched.writes_outside(tmp_path / "work") == []
    assert watched.strays == frozenset(), "ONNX Runtime's telemetry writes to the home folder"
    threads = re.search(r"threads (\d+) (\d+)", watched.out)
    assert threads is not None
    assert threads[1] == threads[2], "no thread outlives the session"
    assert "sockets []" in watched.out
    assert "environment None" in watched.out


def test_every_import_of_onnx_runtime_switches_off_its_telemetry() -> None:
    source = Path(scorecam.__file__).parent
    texts = {file.relative_to(source): file.read_text("utf-8") for file in source.rglob("*.py")}
    direct = re.compile(r"(import|from) onnxruntime|(require|import_module)\(.onnxruntime")
    found = [file.as_posix() for file, text in texts.items() if direct.search(text)]
    assert found == ["backends/onnx/library.py"]
    loading = [file.as_posix() for file, text in texts.items() if "onnx.load" in text]
    assert loading == [], "onnx.load would follow external data"


@pytest.mark.parametrize("start", [b"", b"\0", b"[" * 4000, b"{", b"1", bytes(9)])
def test_the_kind_of_a_file_is_judged_without_errors(start: bytes) -> None:
    likely, advice = file_kinds.looks_like(start)
    assert isinstance(likely, str)
    assert isinstance(advice, str)
