"""The kind of output: detected where certain, and always stated.

All values can be computed by hand, as in `test_known_answers`: three regions of 4, 2 and 1 pixels,
weights W_0 = (0, ln 2 / 2, ln 4 / 1) and W_1 = 0, so that

    z_0(X·H) = (0, ln 2, ln 4)      z_1 = (0, 0, 0)      z(fill) = (0, 0)      z_0(X) = 3 ln 2
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import networks
import scorecam
from command_line import scorecam as command
from scorecam.errors import SettingError, TargetError
from scorecam.testing import Regions, Spy, regions

LN2 = math.log(2)
SIZES = (4, 2, 1)
IMAGE = regions(SIZES, 3, 5)
ROW = torch.tensor([0.0, LN2 / 2, 2 * LN2])
TWO = torch.stack([ROW, torch.zeros(3)])
ONE = ROW[None]


class Ends(nn.Module):
    """`Regions` followed by a function of its scores."""

    def __init__(self, weights: Tensor, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.regions = Regions(weights)
        self.end = end

    def forward(self, images: Tensor) -> Tensor:
        return self.end(self.regions(images))


def bank_of(network: nn.Module, *, head: Any = "auto", labels: Any = None) -> scorecam.ScoreBank:
    model = scorecam.open_model(network, head=head, labels=labels)
    [layer] = [name for name, _ in network.named_modules() if name.endswith("maps")]
    return scorecam.ScoreCAM(model, layer).bank(IMAGE)


def weighs(bank: scorecam.ScoreBank, target: Any, variant: str, truth: tuple[float, ...]) -> None:
    """The three regions have these weights, and the heatmap shows them."""
    weights = bank.weights(target, variant)
    expected = torch.tensor(truth, dtype=torch.float32)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-6)
    shown = (IMAGE * weights.clamp(min=0)[:, None, None]).sum(0)
    torch.testing.assert_close(bank.heatmap(target, variant), shown, rtol=0, atol=1e-6)


def explained(network: nn.Module, variant: str, **options: Any) -> scorecam.Explanation:
    model = scorecam.open_model(network, **options)
    [layer] = [name for name, _ in network.named_modules() if name.endswith("maps")]
    return scorecam.explain(model, IMAGE, 0, layer=layer, variant=variant)


def codes(explanation: scorecam.Explanation) -> set[str]:
    return {note.code for note in explanation.health}


def channel_softmax(*values: float) -> tuple[float, ...]:
    total = sum(map(math.exp, values))
    return tuple(math.exp(value) / total for value in values)


# ── logits ───────────────────────────────────────────────────────────────────────────────────


class TestLogits:
    def test_the_weights_are_a_softmax_over_the_classes(self) -> None:
        bank = bank_of(Regions(TWO))
        assert bank.head == "logits"
        assert bank.names is None
        weighs(bank, 0, "official", (1 / 2, 2 / 3, 4 / 5))
        weighs(bank, 1, "official", (1 / 2, 1 / 3, 1 / 5))
        assert bank.target(0).probability == pytest.approx(8 / 9)
        assert bank.target(0).score == pytest.approx(3 * LN2)

    def test_a_log_softmax_at_the_end_gives_the_same_probabilities(self) -> None:
        bank = bank_of(Ends(TWO, lambda z: z.log_softmax(1)))
        assert bank.head == "logits"
        weighs(bank, 0, "official", (1 / 2, 2 / 3, 4 / 5))

    def test_there_is_no_note_about_the_formula(self) -> None:
        for variant in scorecam.VARIANTS:
            assert "not-logits" not in codes(explained(Regions(TWO), variant))


# ── a model that ends in a softmax ───────────────────────────────────────────────────────────

SOFTMAX = {
    "function": lambda: Ends(TWO, lambda z: z.softmax(1)),
    "module": lambda: nn.Sequential(Regions(TWO), nn.Softmax(dim=1)),
    "half precision": lambda: Ends(TWO, lambda z: z.softmax(1).half()),
}


@pytest.mark.parametrize("build", SOFTMAX.values(), ids=SOFTMAX)
class TestSoftmaxTerminated:
    def test_the_weights_are_its_own_probabilities(self, build: Callable[[], nn.Module]) -> None:
        bank = bank_of(build())
        assert bank.head == "probabilities"
        torch.testing.assert_close(
            bank.scores[:, 0], torch.tensor([1 / 2, 2 / 3, 4 / 5]), rtol=0, atol=1e-3
        )
        assert bank.target(0).probability == bank.target(0).score

    def test_official_equals_the_map_of_the_network_without_softmax(
        self, build: Callable[[], nn.Module]
    ) -> None:
        without = bank_of(Regions(TWO))
        for target in (0, 1):
            torch.testing.assert_close(
                bank_of(build()).heatmap(target), without.heatmap(target), rtol=0, atol=1e-3
            )

    @pytest.mark.parametrize("variant", ["algorithm1", "increase"])
    def test_a_formula_for_logits_gets_a_note(
        self, build: Callable[[], nn.Module], variant: str
    ) -> None:
        explanation = explained(build(), variant)
        [note] = [note for note in explanation.health if note.code == "not-logits"]
        assert note.value > note.threshold
        assert "probabilities" in note.sentence
        assert "official" in note.sentence
        assert "not a logit" in explanation.formula
        json.dumps(note.value, allow_nan=False)

    @pytest.mark.parametrize("variant", ["official", "literal"])
    def test_a_formula_for_probabilities_gets_no_note(
        self, build: Callable[[], nn.Module], variant: str
    ) -> None:
        assert "not-logits" not in codes(explained(build(), variant))


def test_formulas_for_logits_use_the_given_probabilities() -> None:
    bank = bank_of(Ends(TWO, lambda z: z.softmax(1)))
    weighs(bank, 0, "algorithm1", channel_softmax(1 / 2, 2 / 3, 4 / 5))
    weighs(bank, 0, "increase", (0, 1 / 6, 3 / 10))
    weighs(bank, 1, "increase", (0, -1 / 6, -3 / 10))


def test_a_multi_label_model_gets_the_note_too() -> None:
    explanation = explained(Ends(TWO, torch.sigmoid), "algorithm1")
    assert "not-logits" in codes(explanation)
    assert "not a logit" in explanation.formula


# ── multi-label ──────────────────────────────────────────────────────────────────────────────


class TestSigmoid:
    def test_each_column_is_an_independent_binary_output(self) -> None:
        bank = bank_of(Regions(TWO), head="sigmoid")
        assert bank.head == "sigmoid"
        weighs(bank, 0, "official", (1 / 2, 2 / 3, 4 / 5))
        weighs(bank, 1, "official", (1 / 2, 1 / 2, 1 / 2))
        weighs(bank, 0, "algorithm1", (1 / 7, 2 / 7, 4 / 7))
        weighs(bank, 0, "increase", (0, LN2, 2 * LN2))
        assert bank.target(0).probability == pytest.approx(8 / 9)
        assert bank.target(1).probability == pytest.approx(1 / 2)

    def test_the_other_columns_do_not_matter(self) -> None:
        strong = torch.stack([ROW, 40 * torch.ones(3)])
        torch.testing.assert_close(
            bank_of(Regions(strong), head="sigmoid").heatmap(0),
            bank_of(Regions(TWO), head="sigmoid").heatmap(0),
        )

    def test_a_sigmoid_at_the_end_is_detected(self) -> None:
        spy = Spy(Ends(TWO, torch.sigmoid))
        bank = bank_of(spy)
        assert bank.head == "probabilities"
        weighs(bank, 0, "official", (1 / 2, 2 / 3, 4 / 5))
        weighs(bank, 1, "official", (1 / 2, 1 / 2, 1 / 2))
        assert bank.target(1).probability == pytest.approx(1 / 2)
        assert bank.provenance.forward_passes == len(spy.images)

    def test_a_sigmoid_module_at_the_end_is_detected(self) -> None:
        bank = bank_of(nn.Sequential(Regions(TWO), nn.Sigmoid()))
        assert bank.head == "probabilities"
        weighs(bank, 0, "official", (1 / 2, 2 / 3, 4 / 5))


# ── yes or no ────────────────────────────────────────────────────────────────────────────────


def flat(z: Tensor) -> Tensor:
    """One number per image without a column axis, as many binary models return."""
    return z[:, 0]


class TestOneLogit:
    @pytest.mark.parametrize("end", [nn.Identity(), flat], ids=["b 1", "b"])
    def test_one_logit_has_a_positive_and_a_negative_class(
        self, end: Callable[[Tensor], Tensor]
    ) -> None:
        bank = bank_of(Ends(ONE, end))
        assert bank.head == "sigmoid"
        assert bank.names == ("negative", "positive")
        z = torch.tensor([0.0, LN2, 2 * LN2])
        torch.testing.assert_close(bank.scores, torch.stack([-z, z], dim=1))
        weighs(bank, "positive", "official", (1 / 2, 2 / 3, 4 / 5))
        weighs(bank, "negative", "official", (1 / 2, 1 / 3, 1 / 5))
        weighs(bank, "positive", "algorithm1", (1 / 7, 2 / 7, 4 / 7))
        weighs(bank, "negative", "algorithm1", (4 / 7, 2 / 7, 1 / 7))
        weighs(bank, "positive", "increase", (0, LN2, 2 * LN2))
        weighs(bank, "negative", "increase", (0, -LN2, -2 * LN2))

    def test_the_prediction_follows_the_sign_of_the_logit(self) -> None:
        says_yes, says_no = bank_of(Regions(ONE)), bank_of(Regions(-ONE))
        assert says_yes.target().name == "positive"
        assert says_yes.target().probability == pytest.approx(8 / 9)
        assert says_no.target().name == "negative"
        assert says_no.target().score == pytest.approx(3 * LN2)
        assert says_no.target("positive").probability == pytest.approx(1 / 9)

    @pytest.mark.parametrize("head", ["logits", "sigmoid"])
    def test_either_name_is_a_valid_target(self, head: str) -> None:
        bank = bank_of(Regions(ONE), head=head)
        assert bank.head == "sigmoid"
        weighs(bank, "positive", "official", (1 / 2, 2 / 3, 4 / 5))

    def test_one_label_names_both_sides(self) -> None:
        bank = bank_of(Regions(ONE), labels=["cat"])
        assert bank.names == ("not cat", "cat")
        weighs(bank, "cat", "official", (1 / 2, 2 / 3, 4 / 5))
        weighs(bank, "not cat", "official", (1 / 2, 1 / 3, 1 / 5))

    def test_of_two_labels_the_negative_class_comes_first(self) -> None:
        bank = bank_of(Regions(ONE), labels=["dog", "cat"])
        assert bank.names == ("dog", "cat")
        weighs(bank, "cat", "official", (1 / 2, 2 / 3, 4 / 5))
        weighs(bank, "dog", "official", (1 / 2, 1 / 3, 1 / 5))

    def test_three_labels_are_one_too_many(self) -> None:
        with pytest.raises(SettingError, match="3 class names"):
            bank_of(Regions(ONE), labels=["cat", "dog", "emu"])

    def test_a_third_column_is_refused(self) -> None:
        with pytest.raises(TargetError, match="has 2, numbered 0 to 1"):
            bank_of(Regions(ONE)).target(2)

    def test_top_and_contrast_work_with_two_classes(self) -> None:
        bank = bank_of(Regions(ONE))
        top = scorecam.explain(Regions(ONE), IMAGE, layer="maps").top(5)
        assert [explanation.target.name for explanation in top] == ["positive", "negative"]
        shown = (IMAGE * torch.tensor([0, 1 / 3, 3 / 5])[:, None, None]).sum(0)
        torch.testing.assert_close(bank.contrast("positive", "negative"), shown)


class TestOneProbability:
    @pytest.mark.parametrize("head", ["auto", "probabilities"])
    def test_the_probabilities_of_both_classes_sum_to_one(self, head: str) -> None:
        bank = bank_of(Ends(ONE, torch.sigmoid), head=head)
        assert bank.head == "probabilities"
        assert bank.names == ("negative", "positive")
        weighs(bank, "positive", "official", (1 / 2, 2 / 3, 4 / 5))
        weighs(bank, "negative", "official", (1 / 2, 1 / 3, 1 / 5))
        weighs(bank, "negative", "increase", (0, -1 / 6, -3 / 10))
        assert bank.target().probability == pytest.approx(8 / 9)
        assert bank.target("negative").probability == pytest.approx(1 / 9)

    def test_an_undeclared_probability_is_detected(self) -> None:
        bank = bank_of(Ends(-ONE, lambda z: z.sigmoid()[:, 0]))
        assert bank.head == "probabilities"
        assert bank.target().name == "negative"
        assert bank.target().probability == pytest.approx(8 / 9)


# ── probabilities and values ─────────────────────────────────────────────────────────────────


def test_declared_probabilities_are_not_transformed() -> None:
    bank = bank_of(Ends(TWO, lambda z: z / 4), head="probabilities")
    assert bank.head == "probabilities"
    weighs(bank, 0, "official", (0, LN2 / 4, LN2 / 2))


class TestValue:
    def test_one_number_stays_one_column(self) -> None:
        bank = bank_of(Regions(ONE), head="value")
        assert bank.head == "value"
        assert bank.names == ("value",)
        assert bank.scores.shape == (3, 1)
        weighs(bank, None, "official", (0, LN2, 2 * LN2))
        weighs(bank, "value", "increase", (0, LN2, 2 * LN2))
        weighs(bank, 0, "algorithm1", (1 / 7, 2 / 7, 4 / 7))
        assert bank.target().probability is None
        assert bank.target().score == pytest.approx(3 * LN2)

    def test_a_value_may_have_a_name(self) -> None:
        assert bank_of(Regions(ONE), head="value", labels=["age"]).target().name == "age"

    def test_two_names_for_one_value_are_refused(self) -> None:
        with pytest.raises(SettingError, match="2 class names"):
            bank_of(Regions(ONE), head="value", labels=["age", "height"])

    def test_several_values_stay_unchanged(self) -> None:
        bank = bank_of(Regions(TWO), head="value", labels=["age", "height"])
        weighs(bank, "age", "official", (0, LN2, 2 * LN2))
        weighs(bank, "height", "official", (0, 0, 0))

    def test_a_value_between_0_and_1_stays_a_value(self) -> None:
        bank = bank_of(Ends(ONE, torch.sigmoid), head="value")
        assert bank.head == "value"
        assert bank.scores.shape == (3, 1)


# ── detection ────────────────────────────────────────────────────────────────────────────────


class Normalised(nn.Module):
    """Normalises each image to deviation 1, so the strength of the input doesn't matter."""

    def __init__(self, weights: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 3, 1, bias=False)
        self.classes = nn.Linear(3, len(weights))
        with torch.no_grad():
            self.maps.weight.copy_(torch.eye(3)[:, :, None, None])
            self.classes.weight.copy_(weights)
            self.classes.bias.copy_(bias)

    def forward(self, images: Tensor) -> Tensor:
        sums = self.maps(images).sum((2, 3))
        return self.classes(sums / (sums.norm(dim=1, keepdim=True) + 1e-12))


class TestSmallLogitsAreNotProbabilities:
    def test_logits_all_between_0_and_1(self) -> None:
        bank = bank_of(Regions(torch.tensor([[0.01, 0.02, 0.03], [0.03, 0.01, 0.01]])))
        assert bank.head == "logits"
        scores = torch.cat([bank.scores, bank.image_scores[None], bank.fill_scores[None]])
        assert (scores >= 0).all()
        assert (scores <= 1).all()

    def test_a_single_logit_between_0_and_1(self) -> None:
        bank = bank_of(Regions(torch.tensor([[0.01, 0.02, 0.03]])))
        assert bank.head == "sigmoid"
        assert bank.target().probability > 0.5

    def test_the_passes_for_detection_are_counted(self) -> None:
        spy = Spy(Regions(torch.tensor([[0.01, 0.02, 0.03], [0.03, 0.01, 0.01]])))
        bank = bank_of(spy)
        assert bank.provenance.forward_passes == len(spy.images) == 2 + 1 + 3 + 2

    def test_two_columns_that_always_sum_to_one(self) -> None:
        # z = (0.5 + s, 0.5 − s): every row sums to one, but strong inputs leave [0, 1].
        row = torch.tensor([0.01, 0.02, 0.03])
        network = Ends(torch.stack([row, -row]), lambda z: z + 0.5)
        assert bank_of(network).head == "logits"

    def test_only_masked_images_exceed_the_range(self) -> None:
        # At any strength the image scores 0.47 or 0.13, and the empty one 0.3; but region 2 −0.1.
        network = Normalised(torch.tensor([[0.2, 0.2, -0.4]]), torch.tensor([0.3]))
        bank = bank_of(network)
        assert bank.head == "sigmoid"
        assert bank.target().probability == pytest.approx(1 / (1 + math.exp(-0.4746)), abs=1e-3)

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize(
        "kind", [networks.InPlace, networks.Residual, networks.ChannelsLastMemory]
    )
    def test_seeded_networks_with_a_weak_head(self, kind: Any, seed: int) -> None:
        network = networks.build(kind, seed)
        with torch.no_grad():
            network.classes.weight /= 50
            network.classes.bias.uniform_(0.1, 0.9)
        model = scorecam.open_model(network)
        bank = scorecam.ScoreCAM(model, network.layer).bank(networks.images_for(network)[0])
        assert bank.head == "logits"


# ── the formula and JSON ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("build", "head", "variant", "phrase"),
    [
        (lambda: Regions(TWO), "auto", "official", "p = softmax of z over the columns"),
        (lambda: Regions(TWO), "auto", "literal", "p = softmax of z over the columns"),
        (lambda: Regions(TWO), "auto", "increase", "z = the model's logit"),
        (lambda: Regions(TWO), "auto", "algorithm1", "z = the model's logit"),
        (lambda: Regions(TWO), "sigmoid", "official", "p = sigmoid of z"),
        (lambda: Regions(ONE), "auto", "official", "p = sigmoid of z"),
        (lambda: Regions(ONE), "auto", "increase", "z = the model's logit"),
        (lambda: Regions(ONE), "value", "official", "p = z, the value itself"),
        (lambda: Regions(ONE), "value", "algorithm1", "z = the value itself"),
        (SOFTMAX["function"], "auto", "official", "p = z, the model's own probability"),
        (SOFTMAX["function"], "auto", "algorithm1", "the model's own probability, not a logit"),
        (SOFTMAX["function"], "auto", "increase", "the model's own probability, not a logit"),
    ],
)
def test_the_formula_defines_its_symbols(
    build: Callable[[], nn.Module], head: str, variant: str, phrase: str
) -> None:
    formula = explained(build(), variant, head=head).formula
    assert formula.endswith(phrase)
    assert formula.startswith("L = ReLU(Σ_k α_k A_k), α_k = ")


def test_a_bank_keeps_its_head_and_names(tmp_path: Path) -> None:
    networks_and_heads = (
        (Regions(ONE), "auto"),
        (Ends(ONE, torch.sigmoid), "auto"),
        (Regions(ONE), "value"),
        (Regions(TWO), "sigmoid"),
    )
    for network, head in networks_and_heads:
        bank = bank_of(network, head=head)
        bank.save(tmp_path / "bank.safetensors")
        loaded = scorecam.ScoreBank.load(tmp_path / "bank.safetensors")
        assert (loaded.head, loaded.names) == (bank.head, bank.names)
        assert torch.equal(loaded.heatmap(0), bank.heatmap(0))


YES_OR_NO = """
import torch

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.maps = torch.nn.Conv2d(3, 4, 3, stride=2)
        self.answer = torch.nn.Linear(4, 1)

    def forward(self, images):
        return self.answer(self.maps(images).relu().mean((2, 3)))END
"""


@pytest.fixture
def label_folder(photo_folder: Path) -> Path:
    """The current folder, with photos and two label files."""
    Path("one.txt").write_text("cat\n", "utf-8")
    Path("two.txt").write_text("cat\ndog\n", "utf-8")
    return photo_folder


@pytest.mark.parametrize(
    ("end", "options", "head", "names"),
    [
        ("", [], "sigmoid", {"positive", "negative"}),
        (".sigmoid()", [], "probabilities", {"positive", "negative"}),
        ("", ["--head", "value"], "value", {"value"}),
        ("", ["--labels", "one.txt"], "sigmoid", {"cat", "not cat"}),
        ("", ["--labels", "two.txt"], "sigmoid", {"cat", "dog"}),
    ],
)
def test_json_names_head_and_columns(
    label_folder: Path, end: str, options: list[str], head: str, names: set[str]
) -> None:
    module = f"yes_or_no_{label_folder.name}"
    Path(f"{module}.py").write_text(YES_OR_NO.replace("END", end), "utf-8")
    model = ["--model", f"{module}:Network", "--preprocess", "preprocess.json"]

    answer = command("explain", "cat.png", *model, *options, "--target", "top5", "--json")
    assert answer.code == 0, answer
    assert {item["head"] for item in answer.items} == {head}
    assert {item["target"]["name"] for item in answer.items} == names
    probabilities = [item["target"]["probability"] for item in answer.items]
    assert probabilities == [None] if head == "value" else sum(probabilities) == pytest.approx(1)
