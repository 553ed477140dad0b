"""`check`: verdicts of sound and broken networks, missing evidence, and cost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam import Explanation, Model, ModelError, SettingError, Trust
from scorecam.model.model import WhiteBox
from scorecam.testing import Regions, Spy, regions
from scorecam.trust.checking import Cost, cost
from scorecam.trust.criteria import CRITERIA, NOTE_DOUBTS
from scorecam.trust.verdict import verdict
from toy_models import tiny

COLOURS, SIDE, BLOB = 12, 40, 10


class Blobs(nn.Module):
    """Class t is present if a 9 × 9 window is mostly of colour t.

    Its layer `maps` returns the image three times. A window less than half full counts for nothing,
    so scattered pixels are no object; each class has a small score of its own without any.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(COLOURS, 3 * COLOURS, 1, bias=False)
        self.classifier = nn.Linear(COLOURS, COLOURS)
        with torch.no_grad():
            self.maps.weight.copy_(torch.eye(COLOURS).repeat(3, 1)[:, :, None, None])
            self.classifier.weight.copy_(12 * torch.eye(COLOURS))
            # No trend across columns, and small values for the colours shown.
            self.classifier.bias.copy_(torch.tensor([0.0, 1, -1, 1, -1, 0, 0, 1, -1, 1, -1, 0]) / 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maps(images).unflatten(1, (3, COLOURS)).mean(dim=1)
        full = nn.functional.avg_pool2d(maps, 9, stride=1)
        return self.classifier((full - 0.5).relu().amax(dim=(2, 3)))


def blobs() -> Tensor:
    """Six separate blobs, the first colour's the brightest: `c h w`."""
    image = torch.zeros(COLOURS, SIDE, SIDE)
    corners = [(3, 4), (2, 24), (15, 2), (15, 26), (28, 5), (27, 26)]
    for colour, (top, left) in enumerate(corners):
        image[colour, top : top + BLOB, left : left + BLOB] = 1.0 if colour == 0 else 0.7
    return image


def explained(network: nn.Module | Model, image: Tensor, layer: str = "maps") -> Explanation:
    return scorecam.explain(network, image, layer=layer, runtime="eager")


@pytest.fixture(scope="module")
def sound() -> tuple[Model, Explanation, Trust]:
    model = scorecam.open_model(Blobs(), head="logits")
    explanation = explained(model, blobs())
    return model, explanation, scorecam.check(model, explanation)


def evidence(trust: Trust, code: str) -> scorecam.trust.Evidence:
    [found] = [each for each in trust.evidence if each.code == code]
    return found


# ── two classes, other modules, copies that do not run ───────────────────────────────────────


class Pair(nn.Module):
    """Two of the classes; `centred` shifts both scores, which leaves probabilities unchanged."""

    def __init__(self, *, centred: bool) -> None:
        super().__init__()
        self.blobs = Blobs()
        self.centred = centred

    def forward(self, images: Tensor) -> Tensor:
        scores = self.blobs(images)[:, :2]
        return scores - scores.mean(dim=1, keepdim=True) if self.centred else scores


def test_with_two_classes_only_the_difference_counts() -> None:
    found: list[dict[str, float | None]] = []
    for centred in (False, True):
        model = scorecam.open_model(Pair(centred=centred), head="logits")
        trust = scorecam.check(model, explained(model, blobs(), "blobs.maps"))
        found.append({each.code: each.value for each in trust.evidence})
    for code in ("random", "centre"):
        assert found[0][code] == pytest.approx(found[1][code], abs=1e-5)


def test_a_network_with_other_layer_names_is_refused() -> None:
    network = Blobs()
    explanation = explained(network, blobs())
    with pytest.raises(ModelError, match=r"no layer 'maps'"):
        scorecam.check(nn.Sequential(network), explanation)


def test_a_copy_that_does_not_run_loses_one_evidence() -> None:
    class Proud(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blobs = Blobs()
            self.own = self.blobs.classifier.weight.detach().clone()

        def forward(self, images: Tensor) -> Tensor:
            if not torch.equal(self.blobs.classifier.weight, self.own):
                raise ValueError("not my weights")
            return self.blobs(images)

    network = Proud()
    trust = scorecam.check(network, explained(network, blobs(), "blobs.maps"))
    assert evidence(trust, "head").value is None


def test_leaving_out_all_evidence_is_an_error(sound: tuple[Model, Explanation, Trust]) -> None:
    model, explanation, _ = sound
    with pytest.raises(SettingError, match="nothing to base a verdict on"):
        scorecam.check(model, explanation, without=set(CRITERIA))
    with pytest.raises(SettingError, match="evidence code 3"):
        scorecam.check(model, explanation, without={3})


# ── verdicts ─────────────────────────────────────────────────────────────────────────────────


def test_a_network_that_looks_at_its_object_is_usable(
    sound: tuple[Model, Explanation, Trust],
) -> None:
    _, explanation, trust = sound
    assert explanation.target.index == 0
    assert trust.verdict == "usable", trust
    assert [each.code for each in trust.evidence] == list(CRITERIA)
    assert trust.sentence.startswith("usable")


def test_what_the_blobs_network_measures_is_what_it_was_built_for(
    sound: tuple[Model, Explanation, Trust],
) -> None:
    _, _, trust = sound
    # Each class's map is its own blob, and blobs do not touch.
    assert evidence(trust, "contrast").value < 0.5
    # The blob is a sixteenth of the picture: it is among the map's most important quarter, and
    # without it nothing is left of the lead. Random cells of a blob's size seldom hold all of it.
    assert evidence(trust, "random").value > 0.5
    # The picture mirrored, shifted, blurred or dimmed holds the same blobs.
    assert evidence(trust, "steady").value > 0.95
    assert evidence(trust, "moves").value > 0.95
    assert evidence(trust, "follows").value > 0.95
    # Scattered, no window is half full of a colour: only the small biases remain.
    assert evidence(trust, "blind").value < 0.5


def test_a_constant_map_is_refused_without_passes() -> None:
    spy = Spy(Regions(torch.ones(4, 3)))
    model = scorecam.open_model(spy, head="logits")
    explanation = explained(model, torch.ones(3, 8, 8), "network.maps")
    before = len(spy.images)
    trust = scorecam.check(model, explanation)
    assert trust.verdict == "don't show"
    assert evidence(trust, "flat").state == "failed"
    assert trust.passes == 0
    assert cost(model, explanation).passes == 0
    assert len(spy.images) == before


def test_a_random_head_is_refused_without_improbable(
    sound: tuple[Model, Explanation, Trust],
) -> None:
    model, _, _ = sound
    assert isinstance(model, WhiteBox)
    for seed in range(3):
        drawn = model.randomised(["classifier"], blobs()[None], seed)
        trust = scorecam.check(drawn, explained(drawn, blobs()), without={"improbable"})
        assert trust.verdict == "don't show", (seed, trust)
        assert all(each.code != "improbable" for each in trust.evidence)


def test_a_network_with_constant_output_is_refused() -> None:
    class Same(nn.Module):
        """Blobs with scores that are small compared with a constant."""

        def __init__(self) -> None:
            super().__init__()
            self.blobs = Blobs()

        def forward(self, images: Tensor) -> Tensor:
            return 0.01 * self.blobs(images) + 5 * torch.eye(COLOURS)[0]

    model = scorecam.open_model(Same(), head="logits")
    trust = scorecam.check(model, explained(model, blobs(), "blobs.maps"))
    assert evidence(trust, "blind").value == pytest.approx(1, abs=1e-3)
    assert evidence(trust, "blind").state == "failed"
    assert trust.verdict == "don't show"


def test_verdicts_follow_the_doubt() -> None:
    assert [verdict(doubt) for doubt in (0, 0.49, 0.5, 0.99, 1, 3)] == [
        *["usable"] * 2,
        *["weak"] * 2,
        *["don't show"] * 2,
    ]


@pytest.mark.parametrize("code", CRITERIA)
def test_doubt_grows_from_good_to_bad(code: str) -> None:
    rule = CRITERIA[code]
    between = (rule.good + rule.bad) / 2
    beyond, before = rule.bad + (rule.bad - rule.good), rule.good - (rule.bad - rule.good)
    doubts = [rule.doubt(value) for value in (before, rule.good, between, rule.bad, beyond)]
    assert doubts == pytest.approx([0, 0, 0.5, 1, 1])


def test_doubts_are_added(sound: tuple[Model, Explanation, Trust]) -> None:
    model, _, _ = sound
    trust = scorecam.check(model, explained(model, blobs()).of(7))
    assert trust.doubt == pytest.approx(sum(each.doubt for each in trust.evidence))
    assert trust.verdict == verdict(trust.doubt)


def test_a_class_not_in_the_image_is_refused(sound: tuple[Model, Explanation, Trust]) -> None:
    model, explanation, _ = sound
    trust = scorecam.check(model, explanation.of(8))
    assert trust.verdict == "don't show", trust


# ── missing evidence ─────────────────────────────────────────────────────────────────────────


def not_measured(trust: Trust) -> set[str]:
    found = {each.code for each in trust.evidence if each.state == "cannot be told"}
    for each in trust.evidence:
        assert (each.value is None) == (each.code in found)
        if each.value is None:
            assert each.doubt == 0
            assert each.sentence.startswith("Not measured. ")
    return found


def test_a_network_that_cannot_be_copied_lacks_only_head() -> None:
    network = Blobs()
    network.lock = threading.Lock()
    trust = scorecam.check(network, explained(network, blobs()))
    assert not_measured(trust) == {"head"}
    assert "cannot be copied" in evidence(trust, "head").sentence


def test_a_single_value_has_no_classes_to_compare() -> None:
    network = nn.Sequential(Blobs(), nn.Linear(COLOURS, 1)).eval()
    model = scorecam.open_model(network, head="value")
    trust = scorecam.check(model, explained(model, blobs(), "0.maps"))
    columns = {"contrast", "standing", "rest", "elsewhere", "steady", "blind"}
    assert not_measured(trust) == columns | {"follows"}  # the map of a value is centred


def test_a_constant_centred_map_cannot_follow() -> None:
    network = Regions(torch.zeros(COLOURS, COLOURS))
    trust = scorecam.check(network, explained(network, blobs()))
    assert "follows" in not_measured(trust)
    assert "constant" in evidence(trust, "follows").sentence


def test_the_centred_map_is_compared_once() -> None:
    network = Blobs()
    trust = scorecam.check(network, explained(network, blobs()).of(variant="centred"))
    assert not_measured(trust) == {"follows"}
    assert evidence(trust, "moves").value > 0.95


def test_a_sigmoid_output_has_two_classes_to_compare() -> None:
    network = nn.Sequential(Blobs(), nn.Linear(COLOURS, 1)).eval()
    model = scorecam.open_model(network, head="sigmoid")
    trust = scorecam.check(model, explained(model, blobs(), "0.maps"))
    assert not_measured(trust) == {"standing", "rest", "elsewhere", "steady", "blind"}


def test_probabilities_are_compared_as_their_logarithms(
    sound: tuple[Model, Explanation, Trust],
) -> None:
    _, _, logits = sound
    network = nn.Sequential(Blobs(), nn.Softmax(dim=1))
    model = scorecam.open_model(network, head="probabilities")
    trust = scorecam.check(model, explained(model, blobs(), "0.maps"))
    for code in ("standing", "rest", "elsewhere", "steady", "blind", "random", "centre"):
        assert evidence(trust, code).value == pytest.approx(evidence(logits, code).value, abs=1e-3)


@pytest.mark.parametrize("scale", [0.01, 3.0])
def test_scaling_the_scores_does_not_change_evidence(
    sound: tuple[Model, Explanation, Trust], scale: float
) -> None:
    _, _, plain = sound
    network = Blobs()
    for tensor in network.classifier.parameters():
        tensor.data *= scale
    trust = scorecam.check(network, explained(network, blobs()))
    for code in ("standing", "rest", "elsewhere", "steady", "blind"):
        assert evidence(trust, code).value == pytest.approx(evidence(plain, code).value, abs=1e-4)


# ── inputs ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("axes", [1, 3])
def test_signals_and_volumes_are_checked_as_well(axes: int) -> None:
    sizes = tuple(range(1, 7))
    image = regions(sizes, *{1: (32,), 3: (3, 4, 4)}[axes])
    network = Regions(torch.eye(6) + 0.1 * torch.randn(6, 6), axes)
    trust = scorecam.check(network, explained(network, image))
    assert not_measured(trust) == set()
    assert [each.code for each in trust.evidence if each.code in CRITERIA] == list(CRITERIA)


def test_a_map_read_from_a_file_lacks_the_image(
    sound: tuple[Model, Explanation, Trust], tmp_path: Path
) -> None:
    model, explanation, _ = sound
    explanation.bank.save(tmp_path / "bank.safetensors")
    bank = scorecam.ScoreBank.load(tmp_path / "bank.safetensors")
    loaded = Explanation(bank, bank.target(), explanation.variant)
    for ask in (scorecam.check, cost):
        with pytest.raises(
            SettingError, match=r"does not hold the model's input.*Explain the photo"
        ):
            ask(model, loaded)


def test_another_models_explanation_is_refused(sound: tuple[Model, Explanation, Trust]) -> None:
    _, explanation, _ = sound
    other = Blobs()
    other.classifier.weight.data *= 2
    with pytest.raises(
        ModelError, match=r"output differs from the stored explanation.*another model"
    ):
        scorecam.check(other, explanation)


def test_a_function_target_needs_a_model_opened_for_it() -> None:
    network = Blobs()

    def lead(output: Tensor) -> Tensor:
        return output[:, 0] - output[:, 1]

    explanation = scorecam.explain(network, blobs(), target=lead, layer="maps", runtime="eager")
    with pytest.raises(ModelError, match="output=function"):
        scorecam.check(network, explanation)
    model = scorecam.open_model(network, output=lead, head="value")
    assert scorecam.check(model, explained(model, blobs())).passes > 0


def test_other_types_than_an_explanation_are_refused(
    sound: tuple[Model, Explanation, Trust],
) -> None:
    model, explanation, _ = sound
    with pytest.raises(SettingError, match="not a Tensor"):
        scorecam.check(model, explanation.heatmap)
    with pytest.raises(SettingError, match="seed='one' is not a whole number"):
        scorecam.check(model, explanation, seed="one")


def test_a_consensus_map_can_be_checked(
    sound: tuple[Model, Explanation, Trust],
) -> None:
    model, explanation, _ = sound
    trust = scorecam.check(model, explanation.of(variant="consensus"))
    assert evidence(trust, "moves").value > 0.95


def test_scores_that_are_not_finite_are_not_measured() -> None:
    class Overflows(nn.Module):
        """Infinite scores for batches of up to four, except of the explained image."""

        def __init__(self) -> None:
            super().__init__()
            self.blobs = Blobs()

        def forward(self, images: Tensor) -> Tensor:
            own = torch.equal(images[0], blobs())
            return self.blobs(images) + (0.0 if own or len(images) > 4 else torch.inf)

    network = Overflows()
    explanation = explained(network, blobs(), "blobs.maps")
    trust = scorecam.check(network, explanation)
    assert {"steady", "blind"} <= not_measured(trust)


def test_evidence_can_be_left_out(sound: tuple[Model, Explanation, Trust]) -> None:
    model, explanation, _ = sound
    trust = scorecam.check(model, explanation, without={"head", "steady", "moves"})
    assert {each.code for each in trust.evidence} == set(CRITERIA) - {"head", "steady", "moves"}
    with pytest.raises(SettingError, match=r"evidence code 'hed'.*'head'"):
        scorecam.check(model, explanation, without={"hed"})


def test_every_health_note_has_its_doubt() -> None:
    from scorecam.bank import health

    assert set(NOTE_DOUBTS) == set(health.RULES)
    assert not set(NOTE_DOUBTS) & set(CRITERIA)


# ── cost and side effects ────────────────────────────────────────────────────────────────────


def test_the_stated_cost_is_not_exceeded() -> None:
    spy = Spy(Blobs())
    model = scorecam.open_model(spy, head="logits")
    explanation = explained(model, blobs(), "network.maps")
    made = explanation.provenance
    every = set(CRITERIA)
    for without in (set[str](), {"head"}, every - {"steady"}, every - {"contrast"}):
        stated = cost(model, explanation, without=without)
        spy.seen.clear()
        trust = scorecam.check(model, explanation, without=without)
        shown = sum(map(len, spy.seen))
        # Only the copy saw these: the image twice, the empty image and 12 masks.
        assert trust.passes - shown == (15 if "head" in every - without else 0)
        assert trust.passes <= stated.passes
        assert stated.seconds == stated.passes * made.seconds / made.forward_passes
    assert cost(model, explanation, without=every - {"contrast"}).passes == 0


def test_a_photo_costs_40_passes_without_the_copy(sound: tuple[Model, Explanation, Trust]) -> None:
    model, explanation, _ = sound
    # The image and the empty one; six maps with two shares each, shown and removed, and two ends;
    # the least part; seven mild changes; four pictures without the object.
    passes = scorecam.check(model, explanation, without={"head"}).passes
    assert passes == 2 + 24 + 2 + 1 + 7 + 4 == 40


def test_the_cost_is_a_sentence() -> None:
    assert Cost(78, 9.7).sentence == "up to 78 more passes, about 10 s"


def state(network: nn.Module) -> list[object]:
    return [
        [module.training for module in network.modules()],
        [tensor.requires_grad for tensor in network.parameters()],
        [tensor.clone().tolist() for tensor in network.state_dict().values()],
        [
            (len(module._forward_hooks), len(module._forward_pre_hooks))
            for module in network.modules()
        ],
    ]


def test_the_users_network_is_restored() -> None:
    network = tiny(8).train()
    network.classifier.weight.requires_grad_(requires_grad=False)
    image = torch.randn(3, 16, 16)
    explanation = explained(network, image, "body.3")
    before = state(network)
    scorecam.check(network, explanation)
    assert state(network) == before


@pytest.mark.parametrize("number", [1, 3, 10])
def test_the_users_network_is_restored_after_an_error(number: int) -> None:
    class Breaks(nn.Module):
        """Fails at the n-th call."""

        def __init__(self) -> None:
            super().__init__()
            self.network = tiny(8)
            self.left = 10**9

        def forward(self, images: Tensor) -> Tensor:
            self.left -= 1
            if self.left == 0:
                raise RuntimeError("shapes cannot be multiplied")
            return self.network(images)

    network = Breaks().train()
    explanation = explained(network, torch.randn(3, 16, 16), "network.body.3")
    before = state(network)
    network.left = number
    with pytest.raises(ModelError, match="shapes cannot be multiplied"):
        scorecam.check(network, explanation, without={"head"})
    assert state(network) == before


def test_the_same_seed_gives_the_same_evidence(sound: tuple[Model, Explanation, Trust]) -> None:
    model, explanation, trust = sound
    again = scorecam.check(model, explanation)
    assert again.evidence == trust.evidence
    other = scorecam.check(model, explanation, seed=1)
    assert evidence(other, "random").value != evidence(trust, "random").value
