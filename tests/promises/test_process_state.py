"""Calls leave the state of the process unchanged, also when threads run concurrently."""

from __future__ import annotations

import ast
import functools
import gc
import locale
import logging
import os
import random
import signal
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import scorecam
from scorecam.base import process_state
from scorecam.base.exact_products import exact_products
from scorecam.images.photo import read_photo

SOURCE = Path(scorecam.__file__).parent


def shared_state() -> dict[str, Any]:
    """All state that a thread could change for the others."""
    numpy: Any = np.random.get_state()  # noqa: NPY002
    logger = logging.getLogger()
    return {
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "matmul": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "threads of a new thread": in_thread(torch.get_num_threads),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "cudnn": (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark),
        "random": random.getstate(),
        "numpy": (numpy[1].tobytes(), numpy[2:]),
        "torch": torch.get_rng_state().numpy().tobytes(),
        "floating-point errors": np.geterr(),
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "locale": locale.setlocale(locale.LC_ALL),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "largest image": Image.MAX_IMAGE_PIXELS,
        "logging": (logger.level, list(logger.handlers), logging.root.manager.disable),
    }


def in_thread(work: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@pytest.fixture
def user_settings() -> Any:
    """Settings that differ from every default, as a user's program may have them."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(3)
    torch.set_float32_matmul_precision("medium")
    with warnings.catch_warnings():
        warnings.simplefilter("always", ResourceWarning)
        yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 5),
    ).eval()


def skip_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.compile` without the compiler, which takes a minute."""
    traced = functools.partial(torch.compile, backend=lambda graph, _inputs: graph.forward)
    monkeypatch.setattr(torch, "compile", traced)


RUNTIMES = ["eager", "compile", pytest.param("openvino", marks=pytest.mark.needs("openvino"))]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.usefixtures("user_settings")
def test_eight_threads_leave_the_process_state_unchanged(
    runtime: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    skip_compiler(monkeypatch)
    networks = [network() for _ in range(4)]
    images = torch.rand(8, 3, 24, 24)
    photo = tmp_path / "photo.png"
    Image.new("RGB", (24, 24)).save(photo)
    explain(networks[0], images[0], runtime)  # libraries are imported and initialised
    before, thread_counts = shared_state(), []
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        for turn in range(3):
            barrier.wait()
            explain(networks[(number + turn) % 4], images[number], runtime)
            read_photo(photo)
            thread_counts.append(torch.get_num_threads())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    gc.collect()
    assert shared_state() == before
    assert set(thread_counts) == {3}


def explain(net: nn.Module, image: torch.Tensor, runtime: str) -> None:
    explanation = scorecam.explain(net, image, layer="1", runtime=runtime, budget=8)
    assert explanation.provenance.runtime == runtime
    assert explanation.heatmap.isfinite().all()


# ── warnings, threads and environment variables ──────────────────────────────────────────────


def test_ignored_warnings_of_two_threads_do_not_interfere() -> None:
    inside, warned, done = threading.Event(), threading.Event(), threading.Event()

    def other() -> None:
        with process_state.ignore_warnings():
            warnings.warn("ignored", UserWarning, stacklevel=1)
            inside.set()
            assert warned.wait(10)
            warnings.warn("ignored", UserWarning, stacklevel=1)
        done.set()

    before = list(warnings.filters)
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(other)
        assert inside.wait(10)
        with process_state.ignore_warnings():  # the first thread leaves first
            warned.set()
            assert done.wait(10)
            warnings.warn("ignored", UserWarning, stacklevel=1)
        with pytest.raises(UserWarning, match="shown"):  # the suite makes warnings errors
            warnings.warn("shown", UserWarning, stacklevel=1)
        work.result()
    assert warnings.filters == before


def test_warnings_of_other_threads_are_shown_meanwhile() -> None:
    def warned() -> str:
        try:
            warnings.warn("shown", UserWarning, stacklevel=1)
        except UserWarning as warning:
            return str(warning)
        return ""

    with process_state.ignore_warnings():
        assert warned() == ""
        assert in_thread(warned) == "shown"


def test_only_the_named_warnings_are_ignored() -> None:
    with process_state.ignore_warnings(UserWarning, "this"):
        warnings.warn("this and that", UserWarning, stacklevel=1)
        with pytest.raises(UserWarning, match="that"):
            warnings.warn("that", UserWarning, stacklevel=1)
        with pytest.raises(DeprecationWarning):
            warnings.warn("this", DeprecationWarning, stacklevel=1)


def test_the_thread_count_changes_in_one_thread_only() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        with process_state.torch_threads(1):
            inside = torch.get_num_threads()
            assert inside in (1, 4)  # if torch's OpenMP library is not found, nothing changes
            assert in_thread(torch.get_num_threads) == 4
            with process_state.torch_threads(8):
                assert torch.get_num_threads() == inside
        assert torch.get_num_threads() == 4
        assert in_thread(torch.get_num_threads) == 4
        with pytest.raises(KeyboardInterrupt), process_state.torch_threads(2):
            raise KeyboardInterrupt
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_one_thread_at_a_time_sets_an_environment_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SET_BY_A_TEST", raising=False)
    monkeypatch.setenv("OWNED_BY_A_TEST", "own")

    def work(number: int) -> None:
        for name in ("SET_BY_A_TEST", "OWNED_BY_A_TEST"):
            with process_state.environment_variable(name, str(number)):
                assert os.environ[name] == str(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))
    assert "SET_BY_A_TEST" not in os.environ
    assert os.environ["OWNED_BY_A_TEST"] == "own"


# ── matrix products ──────────────────────────────────────────────────────────────────────────

A, B, C = torch.rand(40, 30), torch.rand(30, 20), torch.rand(40, 20)
SQUARE = A @ A.T / 30 + torch.eye(40)
PRODUCTS: dict[str, Callable[..., torch.Tensor]] = {
    "matmul": lambda a, b, _c, _s: a @ b,
    "einsum": lambda a, b, _c, _s: torch.einsum("ij,jk->ik", a, b),
    "tensordot": lambda a, b, _c, _s: torch.tensordot(a, b, dims=1),
    "vector": lambda a, b, _c, _s: a @ b[:, 0],
    "inner": lambda a, b, _c, _s: a[0] @ b[:, 0],
    "batched": lambda a, b, _c, _s: a.expand(3, 40, 30) @ b.expand(3, 30, 20),
    "addmm": lambda a, b, c, _s: torch.addmm(c, a, b),
    "addmm in place": lambda a, b, c, _s: c.clone().addmm_(a, b),
    "distances": lambda a, _b, _c, _s: torch.cdist(a, a.flip(0)),
    "cholesky": lambda _a, _b, _c, s: torch.linalg.cholesky(s),
    "solve": lambda _a, _b, c, s: torch.linalg.solve_triangular(s.tril(), c, upper=False),
}


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
@pytest.mark.parametrize("precision", ["high", "medium"])
@pytest.mark.parametrize("inference", [False, True])
def test_products_are_exact_and_do_not_change_the_setting(
    product: Callable[..., torch.Tensor], precision: str, inference: bool
) -> None:
    exact = product(*(matrix.double() for matrix in (A, B, C, SQUARE))).float()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        with torch.inference_mode(inference), exact_products(torch.device("cpu")):
            assert torch.get_float32_matmul_precision() == precision
            computed = product(A, B, C, SQUARE)
    finally:
        torch.set_float32_matmul_precision(before)
    assert computed.dtype == torch.float32
    assert torch.equal(computed, exact)


# ── the source text ──────────────────────────────────────────────────────────────────────────

FORBIDDEN = {
    "catch_warnings",
    "chdir",
    "filterwarnings",
    "resetwarnings",
    "set_default_device",
    "set_default_dtype",
    "set_default_tensor_type",
    "set_deterministic_debug_mode",
    "set_float32_matmul_precision",
    "set_flush_denormal",
    "set_num_interop_threads",
    "set_num_threads",
    "set_printoptions",
    "setlocale",
    "setrecursionlimit",
    "setswitchinterval",
    "seterr",
    "simplefilter",
    "use_deterministic_algorithms",
}


def test_the_source_calls_no_function_that_sets_global_state() -> None:
    calls = [
        f"{path.relative_to(SOURCE)}:{node.lineno} {node.attr}"
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN
    ]
    assert calls == []


def test_the_source_assigns_to_no_setting_of_a_library() -> None:
    assignments = [
        f"{path.relative_to(SOURCE)}:{node.lineno} {target}"
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Assign)
        for target in map(ast.unparse, node.targets)
        if target.startswith(("torch.", "Image.", "np.", "numpy.", "warnings.", "locale."))
    ]
    assert assignments == []
