"""Several classes of one image cost the passes of one.

The expected values come from `Regions`: region k of |R_k| pixels adds W_tk·|R_k| to class t, and
`increase` shows that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import scorecam
import toy_models
from command_line import NAMES, Answer, options, strict_json
from command_line import scorecam as command
from scorecam.errors import SettingError, TargetError
from scorecam.testing import Regions, Spy, regions

SIZES = (4, 2, 1)
IMAGE = regions(SIZES, 3, 5)
WEIGHTS = torch.tensor(
    [
        [1.0, 2.0, 3.0],
        [0.5, 0.0, 5.0],
        [0.0, 4.0, 0.0],
        [2.0, -1.0, 0.5],
        [-1.0, 1.0, 1.0],
        [0.25, 0.25, 0.25],
    ]
)
LABELS = ("ant", "bee", "cat", "dog", "emu", "fox")
SCORES = (11.0, 7.0, 8.0, 6.5, -1.0, 1.75)
"""z_t(X) = Σ_k W_tk·|R_k|."""


def spied() -> tuple[Spy, scorecam.Model]:
    spy = Spy(Regions(WEIGHTS))
    return spy, scorecam.open_model(spy, labels=LABELS, head="logits")


def explained(target: int | str | None = None, variant: str = "official") -> scorecam.Explanation:
    return scorecam.explain(spied()[1], IMAGE, target, layer="network.maps", variant=variant)


def adds(target: int) -> Tensor:
    """What each region adds to a class, on its own pixels."""
    return (IMAGE * (WEIGHTS[target] * torch.tensor(SIZES))[:, None, None]).sum(0)


# ── passes ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_five_classes_cost_the_passes_of_one(batch_size: int) -> None:
    def images_shown(classes: int) -> int:
        spy, model = spied()
        explanation = scorecam.explain(model, IMAGE, 0, layer="network.maps", batch_size=batch_size)
        for target in range(1, classes):
            assert explanation.of(target).heatmap.any()
        assert explanation.provenance.forward_passes == len(spy.images)
        return len(spy.images)

    assert images_shown(classes=1) == images_shown(classes=5) == 2 + 1 + 3


def test_reading_other_classes_later_costs_no_pass() -> None:
    spy, model = spied()
    explanation = scorecam.explain(model, IMAGE, layer="network.maps")
    before = len(spy.images)
    for variant in scorecam.VARIANTS:
        for other in explanation.of(variant=variant).top(6):
            assert other.heatmap.shape == (3, 5)
            assert other.scaled.shape == (3, 5)
            assert isinstance(other.health, tuple)
            assert other.overlay().mode == "RGB"
            explanation.bank.contrast(0, other.target.index, variant)
    assert len(spy.images) == before


def test_every_class_reports_the_shared_passes() -> None:
    explanation = explained()
    counted = {other.provenance.forward_passes for other in explanation.top(6)}
    assert counted == {explanation.provenance.forward_passes} == {6}


# ── of ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("target", range(6))
@pytest.mark.parametrize("variant", ["official", "algorithm1", "increase", "literal"])
def test_another_class_equals_explaining_it_directly(target: int, variant: str) -> None:
    read = explained(0).of(target, variant)
    direct = explained(target, variant)
    assert torch.equal(read.heatmap, direct.heatmap)
    assert read.target == direct.target
    assert read.formula == direct.formula
    assert read.health == direct.health


def test_a_class_shows_its_contributions() -> None:
    explanation = explained(0, "increase")
    for target in range(6):
        shown = explanation.of(target).heatmap
        torch.testing.assert_close(shown, adds(target).clamp(min=0), rtol=0, atol=1e-5)


def test_class_names_ignore_case() -> None:
    explanation = explained()
    for name in ("emu", "Emu", " EMU "):
        assert explanation.of(name).target.index == 4
    assert explanation.of("emu").target.score == pytest.approx(-1)


def test_other_settings_stay_unchanged() -> None:
    explanation = explained("bee", "increase")
    assert explanation.of("cat").variant.name == "increase"
    assert explanation.of(variant="literal").target.name == "bee"
    assert explanation.of().target == explanation.target
    assert explanation.of("cat").bank is explanation.bank


def test_an_unknown_class_is_refused() -> None:
    explanation = explained()
    with pytest.raises(TargetError, match=r"no class 6.*0 to 5"):
        explanation.of(6)
    with pytest.raises(TargetError, match="Did you mean 'emu'"):
        explanation.of("emuu")
    with pytest.raises(SettingError, match="no variant 'best'"):
        explanation.of(0, "best")


# ── top ──────────────────────────────────────────────────────────────────────────────────────


def test_top_orders_classes_by_descending_score() -> None:
    top = explained("fox").top(5)
    assert [entry.target.name for entry in top] == ["ant", "cat", "bee", "dog", "fox"]
    truth = sorted(SCORES, reverse=True)[:5]
    assert [entry.target.score for entry in top] == pytest.approx(truth)
    assert top[0].target.probability == pytest.approx(
        float(torch.tensor(SCORES).softmax(0)[0]), abs=1e-5
    )


def test_top_gives_five_by_default_and_at_most_all() -> None:
    explanation = explained()
    assert len(explanation.top()) == 5
    assert len(explanation.top(2)) == 2
    assert len(explanation.top(100)) == 6


def test_the_first_of_the_top_is_the_prediction() -> None:
    explanation = explained(None, "increase")
    first = explanation.top(1)[0]
    assert first.target == explanation.target
    assert first.variant == explanation.variant
    assert torch.equal(first.heatmap, explanation.heatmap)


@pytest.mark.parametrize("count", [0, -1])
def test_top_zero_is_refused(count: int) -> None:
    with pytest.raises(SettingError, match=f"top\\({count}\\)"):
        explained().top(count)


# ── contrast ─────────────────────────────────────────────────────────────────────────────────


def test_a_contrast_shows_evidence_for_one_class_over_another() -> None:
    bank = explained().bank
    for one in range(6):
        for other in range(6):
            shown = bank.contrast(one, other, "increase")
            truth = (adds(one) - adds(other)).clamp(min=0)
            torch.testing.assert_close(shown, truth, rtol=0, atol=1e-5)


def test_a_contrast_takes_names() -> None:
    bank = explained().bank
    assert torch.equal(bank.contrast("ant", "cat"), bank.contrast(0, 2))
    assert bank.contrast("ant", "cat").any()
    assert not bank.contrast("ant", "ant").any()
    with pytest.raises(TargetError, match="Did you mean 'cat'"):
        bank.contrast("ant", "catt")


# ── a batch ──────────────────────────────────────────────────────────────────────────────────


def test_one_class_per_image_costs_the_same_passes() -> None:
    images = torch.stack([regions(sizes, 3, 5) for sizes in ((4, 2, 1), (1, 2, 3), (2, 2, 2))])

    def maps_and_cost(target: int | list[int | str]) -> tuple[Tensor, int]:
        spy, model = spied()
        maps = scorecam.ScoreCAM(model, "network.maps", "increase")(images, target)
        return maps, len(spy.images)

    mixed, cost = maps_and_cost([0, "cat", 3])
    for i, target in enumerate((0, 2, 3)):
        alone, cost_of_one = maps_and_cost(target)
        assert cost == cost_of_one == 6 + 1 + 9
        torch.testing.assert_close(mixed[i], alone[i], rtol=0, atol=1e-6)


def test_a_saved_bank_contains_every_class(tmp_path: Path) -> None:
    bank = explained().bank
    bank.save(tmp_path / "bank.safetensors")
    loaded = scorecam.ScoreBank.load(tmp_path / "bank.safetensors")
    # p_t changes with its logarithm, which float16 rounds: by 2^-11 of it, and by 2^-11 of the
    # entropy for the sum it is divided by. A region's map is 0 or 1, and regions don't overlap.
    sums = math.log(len(LABELS))
    off = 1.01 * 2**-11 * (sums - bank.scores.log_softmax(dim=1).amin(dim=0))
    for column, name in enumerate(LABELS):
        assert bank.heatmap(name).any()
        shown, truth = loaded.heatmap(name), bank.heatmap(name)
        torch.testing.assert_close(shown, truth, rtol=float(off[column]), atol=0)
    shown, truth = (source.contrast("ant", "cat") for source in (loaded, bank))
    weights = torch.stack([bank.weights(name) for name in ("ant", "cat")])
    atol = float((off[[0, 2]] * weights.amax(dim=1)).sum())
    torch.testing.assert_close(shown, truth, rtol=0, atol=atol)


def test_a_network_with_two_classes_has_both_in_its_top() -> None:
    network: nn.Module = Regions(WEIGHTS[:2])
    assert len(scorecam.explain(network, IMAGE, layer="maps").top(5)) == 2


# ── the command line ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
def photo_folder(photo_folder: Path) -> Iterator[Path]:
    """The current folder, with photos; forget the spies afterwards."""
    yield photo_folder
    toy_models.SPIES.clear()


def explain(out: str, *targets: str) -> Answer:
    words = [word for target in targets for word in ("--target", target)]
    return command("explain", "cat.png", *options(), *words, "--out", out, "--json")


@pytest.mark.usefixtures("photo_folder")
class TestCommandLine:
    def test_two_targets_report_the_passes_of_one_in_json(self) -> None:
        both, one = explain("both", NAMES[0], NAMES[3]), explain("one", NAMES[0])
        assert [item["target"]["name"] for item in both.items] == [NAMES[0], NAMES[3]]
        passes = {item["forward_passes"] for item in [*both.items, *one.items]}
        shown = {len(spy.images) for spy in toy_models.SPIES}
        assert len(passes) == len(shown) == 1

    def test_top5_reports_the_passes_of_one_in_json(self) -> None:
        five, one = explain("five", "top5"), explain("one", NAMES[0])
        assert len(five.items) == 5
        passes = {item["forward_passes"] for item in [*five.items, *one.items]}
        shown = {len(spy.images) for spy in toy_models.SPIES}
        assert len(passes) == len(shown) == 1

    def test_all_targets_share_one_bank(self) -> None:
        items = explain("out", "top5").items
        [bank] = {item["files"]["bank"] for item in items}
        loaded = scorecam.ScoreBank.load(bank)
        assert loaded.provenance.forward_passes == items[0]["forward_passes"]
        for item in items:
            assert loaded.target(item["target"]["name"]).score == pytest.approx(item["score"])

    def test_top5_and_a_name_may_be_mixed(self) -> None:
        items = explain("out", "top5", "0").items
        assert len(items) == 6
        assert len({item["forward_passes"] for item in items}) == 1
        assert items[-1]["target"]["index"] == 0

    def test_the_record_next_to_the_overlay_counts_the_same_passes(self) -> None:
        explain("out", NAMES[0], NAMES[3])
        items = strict_json(Path("out/cat.json").read_text("utf-8"))["items"]
        assert len(items) == 2
        assert len({item["forward_passes"] for item in items}) == 1
