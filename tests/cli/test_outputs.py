"""Model outputs of every structure: how the scores are found, and errors if there are none.

The inner network is always `Regions`, so every score is known: region k of |R_k| pixels
scores z_t(X·H_k) = W_tk·|R_k|, and `increase` shows exactly that.
"""

from __future__ import annotations

import dataclasses
import types
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam.errors import TargetError
from scorecam.testing import Regions, Spy, regions

SIZES = (4, 2, 1)
IMAGE = regions(SIZES, 3, 5)
WEIGHTS = torch.tensor([[1.0, 2.0, 3.0], [0.5, 0.0, 5.0]])
TRUTH = ((4.0, 4.0, 3.0), (2.0, 0.0, 5.0))
"""The contribution of each region to each class: its weight times its pixels."""


class Wrapped(nn.Module):
    """`Regions` with its scores and maps wrapped in an output structure."""

    def __init__(self, wrap: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.regions = Regions(WEIGHTS)
        self.wrap = wrap

    def forward(self, images: Tensor) -> Any:
        return self.wrap(self.regions(images), images)


def bank_of(wrap: Callable[[Tensor, Tensor], Any], output: Any = None) -> scorecam.ScoreBank:
    model = scorecam.open_model(Wrapped(wrap), output=output, head="logits")
    return scorecam.ScoreCAM(model, "regions.maps").bank(IMAGE)


def weighs(bank: scorecam.ScoreBank, target: Any, truth: tuple[float, ...]) -> None:
    """Each region has its contribution to the target."""
    shown = (IMAGE * torch.tensor(truth)[:, None, None]).sum(0)
    torch.testing.assert_close(bank.heatmap(target, "increase"), shown, rtol=0, atol=1e-5)


# ── records ──────────────────────────────────────────────────────────────────────────────────


class Named(NamedTuple):
    logits: Tensor
    features: Tensor


OldNamed = namedtuple("OldNamed", ["logits", "aux_logits"])  # noqa: PYI024  (torchvision's way)


@dataclasses.dataclass
class Record:
    logits: Tensor
    hidden_states: tuple[Tensor, ...]
    loss: Tensor | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    logits: Tensor
    features: Tensor


class ModelOutput(OrderedDict[str, Any]):
    """As in transformers: a dict without None entries, read by name, attribute or index."""

    def __init__(self, **entries: Any) -> None:
        super().__init__((key, value) for key, value in entries.items() if value is not None)
        for key, value in self.items():
            object.__setattr__(self, key, value)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(self[key] for key in self)


FOUND: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "tensor": lambda z, _: z,
    "tuple of one": lambda z, _: (z,),
    "tuple with maps": lambda z, maps: (z, maps),
    "tuple, scores last": lambda z, maps: (maps, None, z),
    "tuple with a vector": lambda z, _: (z, z[:, 0]),
    "list": lambda z, maps: [maps, z],
    "dict, any name": lambda z, maps: {"out": z, "maps": maps},
    "dict with logits": lambda z, maps: {"aux": z * 9, "logits": z, "maps": maps},
    "named tuple": Named,
    "named tuple with a second matrix": lambda z, _: OldNamed(z, z * 9),
    "dataclass": lambda z, maps: Record(z, (maps, maps)),
    "dataclass with slots": Slotted,
    "namespace": lambda z, maps: types.SimpleNamespace(logits=z, features=maps),
    "model output": lambda z, maps: ModelOutput(loss=None, logits=z, hidden_states=(maps,)),
    "model output with a second matrix": lambda z, _: ModelOutput(pooler=z * 9, logits=z),
    "float64": lambda z, maps: (z.double(), maps),
    "half": lambda z, maps: {"logits": z.half(), "maps": maps},
}


@pytest.mark.parametrize("wrap", FOUND.values(), ids=FOUND)
def test_scores_are_found_if_only_one_output_can_have_them(
    wrap: Callable[[Tensor, Tensor], Any],
) -> None:
    bank = bank_of(wrap)
    assert bank.scores.dtype == torch.float32
    weighs(bank, 0, TRUTH[0])
    weighs(bank, 1, TRUTH[1])


@pytest.mark.parametrize("wrap", FOUND.values(), ids=FOUND)
def test_explain_accepts_a_network_with_such_an_output(
    wrap: Callable[[Tensor, Tensor], Any],
) -> None:
    explanation = scorecam.explain(Wrapped(wrap), IMAGE, 1, layer="regions.maps")
    assert explanation.target.score == pytest.approx(7)


# ── output= ──────────────────────────────────────────────────────────────────────────────────

TWO_MATRICES: dict[str, tuple[Callable[[Tensor, Tensor], Any], Any]] = {
    "place in a tuple": (lambda z, _: (z * 9, z), 1),
    "place in a list": (lambda z, _: [z, z * 9], 0),
    "name in a dict": (lambda z, _: {"aux": z * 9, "main": z}, "main"),
    "name in a dict that has logits too": (lambda z, _: {"logits": z * 9, "main": z}, "main"),
    "number in a dict": (lambda z, _: {7: z * 9, 3: z}, 3),
    "place in a dict": (lambda z, _: {"aux": z * 9, "main": z}, 1),
    "name in a named tuple": (lambda z, _: Named(z * 9, z), "features"),
    "place in a named tuple": (lambda z, _: OldNamed(z * 9, z), 1),
    "name in a dataclass": (lambda z, _: Record(z * 9, (), z), "loss"),
    "name in a dataclass with slots": (lambda z, _: Slotted(z * 9, z), "features"),
    "name in a model output": (lambda z, _: ModelOutput(logits=z * 9, main=z), "main"),
    "place in a model output": (lambda z, _: ModelOutput(logits=z * 9, main=z), 1),
    "function of a nested output": (
        lambda z, _: {"head": [{"z": z}]},
        lambda whole: whole["head"][0]["z"],
    ),
    "function of a tensor": (lambda z, _: torch.cat([z * 9, z], 1), lambda whole: whole[:, 2:]),
    "function of a segmentation": (
        lambda z, _: z[:, :, None, None].expand(-1, -1, 6, 7),
        lambda whole: whole.mean((2, 3)),
    ),
}


@pytest.mark.parametrize(("wrap", "output"), TWO_MATRICES.values(), ids=TWO_MATRICES)
def test_output_selects_the_scores(wrap: Callable[[Tensor, Tensor], Any], output: Any) -> None:
    bank = bank_of(wrap, output)
    weighs(bank, 0, TRUTH[0])
    weighs(bank, 1, TRUTH[1])


@pytest.mark.parametrize(
    ("wrap", "phrases"),
    [
        (lambda z, _: (z, z * 9), ["tuple", "0: (1, 2)", "1: (1, 2)"]),
        (lambda z, maps: {"a": z, "b": z, "maps": maps}, ["dict", "'a': (1, 2)", "'maps': (1, 3"]),
        (lambda _, maps: {"features": maps}, ["'features': (1, 3, 3, 5)"]),
        (lambda z, maps: {"head": {"logits": z}, "maps": maps}, ["'head': dict", "'maps'"]),
        (lambda z, _: ((z, z), [z]), ["0: tuple", "1: list"]),
        (lambda _z, _: {}, ["holds nothing"]),
        (lambda _z, _: None, ["NoneType"]),
        (lambda _z, _: "cat", ["str"]),
        (lambda z, _: z.numpy(), ["ndarray"]),
        (lambda z, _: [{"boxes": z, "scores": z[0]}] * len(z), ["list", "0: dict"]),
        (lambda z, _: OldNamed(None, z)._asdict() | {"other": z}, ["'aux_logits'", "'other'"]),
    ],
)
def test_ambiguous_outputs_are_listed_in_the_error(
    wrap: Callable[[Tensor, Tensor], Any], phrases: list[str]
) -> None:
    with pytest.raises(TargetError) as error:
        bank_of(wrap)
    for phrase in [*phrases, "output="]:
        assert phrase in str(error.value)


@pytest.mark.parametrize(
    ("wrap", "output", "phrases"),
    [
        (lambda z, maps: (z, maps), 2, ["tuple", "no entry 2", "0, 1"]),
        (lambda z, maps: (z, maps), "logits", ["no entry 'logits'", "0, 1"]),
        (lambda z, _: {"logits": z}, "logit", ["Did you mean 'logits'?", "'logits'"]),
        (lambda z, maps: {"logits": z, "maps": maps}, 5, ["no entry 5", "'logits', 'maps'"]),
        (Named, "feature", ["Named", "Did you mean 'features'?"]),
        (lambda z, _: Record(z, ()), "hidden", ["Record", "'hidden_states'", "'loss'"]),
        (Slotted, "scores", ["Slotted", "'logits'", "'features'"]),
        (lambda z, _: ModelOutput(logits=z), "scores", ["ModelOutput", "'logits'"]),
        (lambda z, _: z, 0, ["Tensor", "no entry 0"]),
        (lambda z, maps: (z, maps), 1, ["(1, 3, 3, 5)", "one row of numbers"]),
        (lambda z, _: Record(z[0], ()), None, ["(2,)", "one row of numbers"]),
        (lambda z, _: (z, None), 1, ["NoneType", "not a tensor"]),
    ],
)
def test_a_missing_output_is_refused_and_outputs_are_listed(
    wrap: Callable[[Tensor, Tensor], Any], output: Any, phrases: list[str]
) -> None:
    with pytest.raises(TargetError) as error:
        bank_of(wrap, output)
    for phrase in phrases:
        assert phrase in str(error.value)


# ── functions ────────────────────────────────────────────────────────────────────────────────


class Counted:
    """Reads one column, and records the number of images in each output."""

    def __init__(self, read: Callable[[Any], Tensor]) -> None:
        self.read = read
        self.batches: list[int] = []

    def __call__(self, output: Any) -> Tensor:
        self.batches.append(len(output))
        return self.read(output)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_a_function_gets_each_whole_output_once(batch_size: int) -> None:
    spy = Spy(Regions(WEIGHTS))
    readout = Counted(lambda output: output)
    model = scorecam.open_model(spy, output=readout, head="logits")
    bank = scorecam.ScoreCAM(model, "network.maps", batch_size=batch_size).bank(IMAGE)
    assert readout.batches == [len(batch) for batch in spy.seen]
    assert sum(readout.batches) == bank.provenance.forward_passes == 2 + 1 + 3


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_a_target_function_gets_each_whole_output_once(batch_size: int) -> None:
    spy = Spy(Regions(WEIGHTS))
    target = Counted(lambda output: output[:, 1] - output[:, 0])
    cam = scorecam.ScoreCAM(spy, "network.maps", "increase", batch_size=batch_size)
    [heatmap] = cam(IMAGE[None], target)
    assert target.batches == [len(batch) for batch in spy.seen]
    shown = (IMAGE * torch.tensor([0.0, 0.0, 2.0])[:, None, None]).sum(0)  # 5 − 3; the rest < 0
    torch.testing.assert_close(heatmap, shown, rtol=0, atol=1e-5)


def test_a_function_may_return_several_columns() -> None:
    def three(output: Tensor) -> Tensor:
        return torch.cat([output, output[:, :1] - output[:, 1:]], dim=1)

    model = scorecam.open_model(
        Regions(WEIGHTS), output=three, labels=["first", "second", "difference"], head="value"
    )
    bank = scorecam.ScoreCAM(model, "maps").bank(IMAGE)
    weighs(bank, "first", TRUTH[0])
    weighs(bank, "second", TRUTH[1])
    weighs(bank, "difference", (2, 4, 0))


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_a_target_function_returns_one_number_per_image(shape: tuple[int, ...]) -> None:
    def difference(output: Tensor) -> Tensor:
        return (output[:, 0] - output[:, 1]).reshape(shape)

    explanation = scorecam.explain(Regions(WEIGHTS), IMAGE, difference, layer="maps")
    assert explanation.bank.head == "value"
    assert explanation.target.name == "difference"
    assert explanation.target.score == pytest.approx(4)
    assert explanation.target.probability is None
    weighs(explanation.bank, None, (2, 4, 0))


def test_a_target_function_receives_the_networks_output() -> None:
    explanation = scorecam.explain(
        Wrapped(lambda z, maps: {"head": (z, maps)}),
        IMAGE,
        lambda output: output["head"][0][:, 1],
        layer="regions.maps",
    )
    weighs(explanation.bank, None, TRUTH[1])


def test_a_target_function_overrides_output() -> None:
    model = scorecam.open_model(Wrapped(lambda z, maps: (z, maps)), output=lambda _: 1 / 0)
    bank = scorecam.explain(model, IMAGE, lambda o: o[0][:, 0], layer="regions.maps").bank
    weighs(bank, None, TRUTH[0])


@pytest.mark.parametrize(
    ("read", "phrases"),
    [
        (lambda output: output[0], ["shape (2,)", "batch axis"]),
        (lambda output: output.sum(), ["shape ()", "batch axis"]),
        (lambda output: output[:, :0], ["shape (1, 0)"]),
        (lambda output: output[:, :, None], ["shape (1, 2, 1)"]),
        (lambda output: torch.cat([output, output]), ["shape (2, 2)", "1 images"]),
        (lambda output: output.numpy(), ["ndarray", "not a tensor"]),
        (lambda output: float(output[0, 0]), ["float", "not a tensor"]),
        (lambda _: None, ["NoneType", "not a tensor"]),
        (lambda output: output["logits"], ["failed", "Tensor"]),
        (lambda output: output.head, ["AttributeError", "head"]),
        (lambda _: 1 / 0, ["ZeroDivisionError"]),
    ],
)
def test_an_unsuitable_function_is_refused_with_the_reason(
    read: Callable[[Any], Any], phrases: list[str]
) -> None:
    with pytest.raises(TargetError) as error:
        bank_of(lambda z, _: z, read)
    for phrase in phrases:
        assert phrase in str(error.value)
    assert error.value.do


def test_a_target_function_with_several_columns_is_refused() -> None:
    with pytest.raises(TargetError, match=r"shape \(1, 2\).*one\s+number per image"):
        scorecam.explain(Regions(WEIGHTS), IMAGE, lambda output: output, layer="maps")


def test_an_invalid_output_is_refused() -> None:
    for wrong in (1.5, ["logits"], np.array([0])):
        with pytest.raises(scorecam.ScorecamError):
            bank_of(lambda z, maps: (z, maps), wrong)
