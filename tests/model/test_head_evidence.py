"""Probabilities are detected only where certain; a declared head is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import scorecam
import torchvision_ops
from scorecam.errors import SettingError, TargetError
from scorecam.model.head import adds_up, in_range, saturates
from scorecam.testing import Spy

COLUMNS = 6


class Net(nn.Module):
    """A small convolutional network followed by a function of its features.

    Args:
        end: function of features and logits that returns the output.
        scale: of the logits.
    """

    def __init__(
        self,
        end: Callable[[Tensor, Tensor], Tensor],
        *,
        columns: int = COLUMNS,
        seed: int = 0,
        scale: float = 1.0,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.maps = nn.Conv2d(3, 8, 3, stride=2)
            self.norm = nn.InstanceNorm2d(8) if normalise else nn.Identity()
            self.classes = nn.Linear(8, columns)
        self.end = end
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.maps(images).relu()).mean((2, 3))
        return self.end(features, self.classes(features) * self.scale)


def photo(seed: int = 0) -> Tensor:
    return torch.randn(3, 12, 16, generator=torch.Generator().manual_seed(seed))


def bank_of(network: nn.Module, head: Any = "auto", image: Tensor | None = None) -> Any:
    model = scorecam.open_model(network, head=head)
    shown = photo() if image is None else image
    [layer] = [name for name, _ in network.named_modules() if name.split(".")[-1] == "maps"]
    return scorecam.ScoreCAM(model, layer, runtime="eager").bank(shown)


def cosine(features: Tensor, _: Tensor) -> Tensor:
    """Similarities to fixed directions; features are not negative, nor are these."""
    drawn = torch.rand(COLUMNS, 8, generator=torch.Generator().manual_seed(3))
    return functional.normalize(features.relu(), dim=1) @ functional.normalize(drawn, dim=1).T


def sparsemax(_: Tensor, z: Tensor) -> Tensor:
    """Martins and Astudillo 2016: the nearest distribution, with exact zeros."""
    ordered = z.sort(dim=1, descending=True).values
    count = torch.arange(1, z.shape[1] + 1, device=z.device)
    total = ordered.cumsum(dim=1)
    support = (1 + count * ordered > total).sum(dim=1, keepdim=True)
    threshold = (total.gather(1, support - 1) - 1) / support
    return (z - threshold).clamp(min=0)


def by_hand(_: Tensor, z: Tensor) -> Tensor:
    raised = (z - z.amax(dim=1, keepdim=True)).exp()
    return raised / raised.sum(dim=1, keepdim=True)


PROBABILITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "softmax": lambda _, z: z.softmax(1),
    "softmax by hand": by_hand,
    "softmax in half precision": lambda _, z: z.softmax(1).half(),
    "softmax in bfloat16": lambda _, z: z.softmax(1).bfloat16(),
    "softmax by hand in half precision": lambda f, z: by_hand(f, z.half()),
    "softmax of a high temperature": lambda _, z: (z / 50).softmax(1),
    "softmax of a low temperature": lambda _, z: (z * 50).softmax(1),
    "softmax without its background": lambda _, z: z.softmax(1)[:, 1:],
    "sparsemax": sparsemax,
    "sigmoids": lambda _, z: z.sigmoid(),
    "sigmoids by hand": lambda _, z: 1 / (1 + (-z).exp()),
    "clamped sigmoids": lambda _, z: z.sigmoid().clamp(1e-4, 1 - 1e-4),
    "hard sigmoids": lambda _, z: functional.hardsigmoid(z),
    "hard sigmoids by hand": lambda _, z: functional.relu6(z + 3) / 6,
    "two sigmoids joined": lambda _, z: torch.cat([z[:, :3].sigmoid(), z[:, 3:].sigmoid()], 1),
    "softmax of two": lambda _, z: z[:, :2].softmax(1),
    "one sigmoid": lambda _, z: z[:, :1].sigmoid(),
    "one sigmoid without its column": lambda _, z: z[:, 0].sigmoid(),
}

LOGITS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "tiny": lambda _, z: z.abs() * 3e-6,
    "tiny and in half precision": lambda _, z: (z.abs() * 1e-4).half(),
    "a single tiny one": lambda _, z: z[:, :1].abs() * 3e-6,
    "relu6": lambda _, z: functional.relu6(z),
    "weak relu6": lambda _, z: functional.relu6(z.abs() / 10),
    "log softmax": lambda _, z: z.log_softmax(1),
    "cosine": cosine,
    "one cosine": lambda f, z: cosine(f, z)[:, :1],
    "tanh": lambda _, z: z.tanh(),
    "percent": lambda _, z: z.softmax(1) * 100,
    "shares of three halves": lambda _, z: z.softmax(1) * 1.5 - 0.1,
    "votes": lambda _, z: (z > 0).float(),
    "constant": lambda _, z: torch.full_like(z, 0.3),
    "softmax over the batch": lambda _, z: z.softmax(0) * 0.2,
}


class TestDetection:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("end", PROBABILITIES.values(), ids=PROBABILITIES)
    def test_probabilities_are_found(self, end: Any, seed: int) -> None:
        bank = bank_of(Net(end, seed=seed))
        assert bank.head == "probabilities"
        assert bank.provenance.remarks == ()

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("end", LOGITS.values(), ids=LOGITS)
    def test_other_outputs_are_read_as_logits(self, end: Any, seed: int) -> None:
        bank = bank_of(Net(end, seed=seed))
        single = len(bank.image_scores) == 2 and bank.names is not None
        assert bank.head == ("sigmoid" if single else "logits")

    @pytest.mark.parametrize("columns", [1, 2, COLUMNS])
    @pytest.mark.parametrize("seed", range(3))
    def test_scale_free_outputs_are_logits_with_a_remark(self, columns: int, seed: int) -> None:
        # Instance norm: an input 1,000 times as strong gives the same scores.
        network = Net(lambda _, z: z.abs() / 10, columns=columns, seed=seed, normalise=True)
        bank = bank_of(network)
        assert bank.head in ("logits", "sigmoid")
        [remark] = bank.provenance.remarks
        assert "treated as logits" in remark
        assert 'head="probabilities"' in remark
        assert len(remark) <= 600

    def test_unambiguous_logits_get_no_remark(self) -> None:
        assert bank_of(Net(lambda _, z: z)).provenance.remarks == ()

    @pytest.mark.parametrize("seed", range(6))
    def test_a_handmade_sigmoid_is_detected_or_remarked(self, seed: int) -> None:
        # If every strong input drives it to the same end, detection is uncertain.
        bank = bank_of(Net(lambda _, z: (z[:, :1] / 2).tanh() / 2 + 0.5, seed=seed))
        if bank.head != "probabilities":
            [remark] = bank.provenance.remarks
            assert "treated as logits" in remark

    def test_a_handmade_sigmoid_that_reaches_0_and_1_is_detected(self) -> None:
        class Signed(Net):
            def forward(self, images: Tensor) -> Tensor:
                return (self.maps(images).mean((2, 3))[:, :1] / 2).tanh() / 2 + 0.5

        spy = Spy(Signed(lambda _, z: z))
        bank = bank_of(spy)
        assert bank.head == "probabilities"
        assert bank.provenance.forward_passes == len(spy.images)

    def test_percentages_get_a_remark(self) -> None:
        [remark] = bank_of(Net(lambda _, z: z.softmax(1) * 100)).provenance.remarks
        assert "add up to 100" in remark

    @settings(max_examples=40, deadline=None)
    @given(
        seed=st.integers(0, 10**6),
        columns=st.integers(1, 40),
        power=st.integers(-6, 1),
        kind=st.sampled_from(["softmax", "sigmoid", "none", "positive"]),
        dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    )
    def test_generated_networks(
        self, seed: int, columns: int, power: int, kind: str, dtype: torch.dtype
    ) -> None:
        ends = {
            "softmax": lambda _, z: z.softmax(1).to(dtype),
            "sigmoid": lambda _, z: z.sigmoid().to(dtype),
            "none": lambda _, z: z.to(dtype),
            "positive": lambda _, z: z.abs().to(dtype),
        }
        network = Net(ends[kind], columns=columns, seed=seed, scale=10.0**power)
        bank = bank_of(network, image=photo(seed))
        bounded = kind == "sigmoid" or (kind == "softmax" and columns > 1)
        if kind == "softmax" and columns == 1:
            return  # always exactly one: uncertain, and useless
        assert (bank.head == "probabilities") == bounded

    def test_any_negative_number_excludes_probabilities(self) -> None:
        rows = torch.tensor([[0.4, 0.6], [-1e-7, 1 + 1e-7]])
        assert adds_up(rows)
        assert not in_range(rows)
        assert in_range(rows[:1])

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("columns", [2, 10, 1000, 20_000])
    def test_only_distributions_sum_to_one_within_rounding(
        self, columns: int, dtype: torch.dtype
    ) -> None:
        drawn = torch.Generator().manual_seed(columns)
        rows = (3 * torch.randn(50, columns, generator=drawn)).softmax(1)
        assert adds_up(rows.to(dtype).float())
        assert not adds_up((rows * 1.06).to(dtype).float())
        assert not adds_up(rows * 1.06)

    def test_outputs_that_reach_only_one_end_do_not_saturate(self) -> None:
        image = torch.tensor([[0.3, 0.6]])
        assert saturates(image, torch.tensor([[0.0, 1.0]]))
        assert not saturates(image, torch.tensor([[0.0, 0.0]]))
        assert not saturates(image, torch.tensor([[1.0, 1.0]]))
        assert not saturates(image, torch.tensor([[0.3, 0.6]]))
        assert not saturates(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 1.0]]))

    @pytest.mark.parametrize("name", ["mnasnet0_5", "mobilenet_v2", "resnet18", "efficientnet_b0"])
    @pytest.mark.parametrize("columns", [1, 10])
    @pytest.mark.needs("torchvision")
    def test_real_networks(self, name: str, columns: int) -> None:
        torchvision_ops.define()
        from torchvision import models

        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = models.get_model(name, weights=None, num_classes=columns).eval()
        image = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(1))
        for end, head in (
            (nn.Identity(), "sigmoid" if columns == 1 else "logits"),
            (nn.Sigmoid(), "probabilities"),
            *([(nn.Softmax(1), "probabilities")] if columns > 1 else []),
        ):
            cam = scorecam.ScoreCAM(nn.Sequential(network, end), budget=3, runtime="eager")
            assert cam.bank(image).head == head

    @pytest.mark.parametrize(
        ("end", "passes"),
        [
            (lambda _, z: z, 0),
            (lambda _, z: z.softmax(1), 1),
            (lambda _, z: z.sigmoid(), 1),
            (by_hand, 2),
            (lambda _, z: z.abs() * 3e-6, 2),
        ],
        ids=["logits", "softmax", "sigmoid", "by hand", "tiny"],
    )
    def test_detection_passes_are_counted(self, end: Any, passes: int) -> None:
        spy = Spy(Net(end))
        bank = bank_of(spy)
        assert bank.provenance.forward_passes == len(spy.images)
        assert len(spy.images) == 3 + len(bank.asked) + passes

    def test_detection_does_not_depend_on_the_batch_size(self) -> None:
        for end in (*PROBABILITIES.values(), *LOGITS.values()):
            if end is LOGITS["softmax over the batch"]:
                continue  # its own scores depend on the batch
            model = scorecam.open_model(Net(end))
            heads = {
                scorecam.ScoreCAM(model, "maps", batch_size=size, runtime="eager")
                .bank(photo())
                .head
                for size in (1, 3, 100)
            }
            assert len(heads) == 1


# ── not scores ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("end", "word"),
    [
        (lambda _, z: z.argmax(1), "integers (int64)"),
        (lambda _, z: z.int(), "integers (int32)"),
        (lambda _, z: z > 0, "booleans"),
        (lambda _, z: torch.complex(z, z), "complex numbers (complex64)"),
    ],
    ids=["indices", "integers", "booleans", "complex"],
)
@pytest.mark.parametrize("head", ["auto", "logits", "probabilities", "sigmoid", "value"])
def test_indices_booleans_and_complex_numbers_are_refused(end: Any, word: str, head: str) -> None:
    with pytest.raises(TargetError) as raised:
        bank_of(Net(end), head)
    assert word in raised.value.what
    assert len(str(raised.value)) <= 600


def test_indices_next_to_the_scores_are_ignored() -> None:
    class Both(Net):
        def forward(self, images: Tensor) -> Any:
            z = super().forward(images)
            return {"scores": z, "order": z.argsort(1)}

    assert bank_of(Both(lambda _, z: z)).image_scores.shape == (COLUMNS,)


# ── a declared head ──────────────────────────────────────────────────────────────────────────


class TestDeclared:
    @pytest.mark.parametrize(
        ("end", "word"),
        [
            (lambda _, z: z - 3, "logits"),
            (lambda _, z: z.abs() + 7.2, "logits"),
            (lambda _, z: z.softmax(1) * 100, "percent"),
        ],
        ids=["negative", "7.2", "percent"],
    )
    def test_impossible_probabilities_are_refused_before_any_mask(
        self, end: Any, word: str
    ) -> None:
        spy = Spy(Net(end))
        with pytest.raises(SettingError, match="probabilities") as raised:
            bank_of(spy, "probabilities")
        assert word in str(raised.value)
        assert len(spy.images) == 1

    def test_impossible_scores_of_masked_images_are_refused(self) -> None:
        # The image scores 0.5, the brighter half of the masks more.
        with torch.no_grad():
            level = float(Net(lambda f, _: f[:, :2])(photo()[None])[0, 0])
        network = Net(lambda f, _: 0.5 + 9 * (level - f[:, :2]).clamp(min=0))
        with pytest.raises(SettingError, match='head="probabilities"'):
            bank_of(network, "probabilities")

    @pytest.mark.parametrize(
        ("head", "end", "phrase"),
        [
            ("probabilities", lambda _, z: z.sigmoid(), "not to one"),
            ("logits", lambda _, z: z.softmax(1), "they look like probabilities"),
            ("logits", lambda _, z: z[:, :1].sigmoid(), "from 50 % to 73 %"),
            ("sigmoid", lambda _, z: z.sigmoid(), "from 50 % to 73 %"),
        ],
    )
    def test_a_doubtful_declared_head_gets_a_remark(self, head: str, end: Any, phrase: str) -> None:
        bank = bank_of(Net(end), head)
        assert bank.head in (head, "sigmoid")
        [remark] = bank.provenance.remarks
        assert phrase in remark
        assert len(remark) <= 600

    @pytest.mark.parametrize(
        ("head", "end"),
        [
            ("probabilities", lambda _, z: z.softmax(1)),
            ("probabilities", lambda _, z: z.softmax(1).half()),
            ("probabilities", lambda _, z: z[:, :1].sigmoid()),
            ("logits", lambda _, z: z),
            ("logits", lambda _, z: z.log_softmax(1)),
            ("sigmoid", lambda _, z: z),
            ("value", lambda _, z: z.sigmoid()),
            ("value", lambda _, z: z - 3),
        ],
    )
    def test_a_plausible_declared_head_gets_no_remark(self, head: str, end: Any) -> None:
        bank = bank_of(Net(end), head)
        assert bank.head == head
        assert bank.provenance.remarks == ()
