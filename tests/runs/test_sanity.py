"""The sanity check: maps must change when the weights do."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import scorecam
from command_line import PREPROCESS
from command_line import scorecam as command
from scorecam import LayerError, Model, ModelError, Preprocess, SettingError
from scorecam.backends.pytorch import randomise
from scorecam.methods.method import Case, Method
from scorecam.methods.names import parse_methods
from scorecam.metrics.similarity import SIMILARITIES, hog, spearman, ssim
from scorecam.metrics.statistics import Interval
from scorecam.runs.sanity.check import Check
from scorecam.runs.sanity.networks import MODES
from scorecam.runs.sanity.results import Sanity
from scorecam.runs.sanity.verdict import verdict
from scorecam.runs.tables import Point
from small_runs import photos

pytestmark = pytest.mark.needs("eval")

SIDE = 32


class Small(nn.Module):
    """Two blocks and a head, not defined in the order they run."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.blocks = nn.Sequential(
            nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        )
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(images).relu()).mean(dim=(2, 3)))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval()


def opened(network: nn.Module) -> Model:
    preprocess = Preprocess(
        size=(SIDE, SIDE),
        fit="squash",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="nearest",
    )
    return scorecam.open_model(network, preprocess=preprocess)


IMAGE = torch.zeros(1, 3, SIDE, SIDE)
STAGES = ["head", "blocks.1", "blocks.0", "stem"]


# ── randomised copies ────────────────────────────────────────────────────────────────────────


def test_stages_run_from_the_output_to_the_input(network: nn.Module) -> None:
    assert opened(network).stages(IMAGE) == STAGES
    assert not any(child._forward_pre_hooks for child in network.modules())


def test_exactly_the_chosen_stages_are_reinitialised(network: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.blocks[0][1].running_mean += 5  # running statistics are learned as well
    drawn = opened(network).randomised(["blocks.0", "head"], IMAGE, seed=0).module
    changed = {
        name
        for name, tensor in drawn.state_dict().items()
        if not torch.equal(tensor, network.state_dict()[name])
    }
    assert {name.rpartition(".")[0] for name in changed} == {"head", "blocks.0.0", "blocks.0.1"}
    assert float(drawn.blocks[0][1].running_mean.abs().max()) == 0
    network.blocks[0][1].running_mean -= 5
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_each_layer_is_reinitialised_by_its_own_initialiser(network: nn.Module) -> None:
    with torch.no_grad():
        network.head.weight.mul_(1000)
    drawn = opened(network).randomised(STAGES, IMAGE, seed=0).module
    bound = 1 / math.sqrt(8)
    assert 0.5 * bound < float(drawn.head.weight.detach().abs().max()) <= bound


def test_a_seed_gives_the_same_copy_and_keeps_torchs_own_seed(network: nn.Module) -> None:
    state = torch.random.get_rng_state()
    one, same, other = (
        opened(network).randomised(["stem"], IMAGE, seed=seed).module.stem.weight
        for seed in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_module_that_cannot_be_reinitialised_is_an_error(network: nn.Module) -> None:
    with pytest.raises(LayerError, match=r"blocks\.0"):
        opened(network).randomised(["blocks.7"], IMAGE, seed=0)

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images * self.scale

    with pytest.raises(ModelError, match="no initialiser"):
        randomise.randomised(nn.Sequential(Own()), ["0"], 0)
    network.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(ModelError, match="cannot be copied"):
        randomise.randomised(network, ["stem"], 0)


# ── similarity ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("alike", SIMILARITIES.values(), ids=SIMILARITIES)
def test_a_map_is_similar_to_itself_and_not_to_noise(alike: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, 64, 64, generator=generator)
    assert alike(one, one) == pytest.approx(1)
    assert alike(one, one * 7 + 3) == pytest.approx(1, abs=1e-5)
    assert abs(alike(one, other)) < 0.2
    assert math.isnan(alike(one, torch.ones(64, 64)))
    assert math.isnan(alike(torch.zeros(64, 64), one))


def test_spearman_depends_only_on_ranks() -> None:
    ramp = torch.arange(100.0).reshape(10, 10)
    assert spearman(ramp, ramp**3) == pytest.approx(1)
    assert spearman(ramp, -ramp) == pytest.approx(-1)


def test_maps_smaller_than_the_window_have_no_ssim() -> None:
    assert math.isnan(ssim(torch.rand(5, 5), torch.rand(5, 5)))
    assert math.isnan(hog(torch.rand(3, 3), torch.rand(3, 3)))


# ── the check ────────────────────────────────────────────────────────────────────────────────


METHODS = "scorecam,gradient,edges"


class OfTheWeights(Method):
    """A map that depends on every weight, and on nothing else."""

    name = "of-the-weights"
    settings: ClassVar[dict[str, object]] = {}
    source = "this test"

    def heatmap(self, case: Case) -> torch.Tensor:
        total = sum(
            float(tensor.double().sum()) for tensor in case.model.module.state_dict().values()
        )
        generator = torch.Generator().manual_seed(hash(total) % 2**31)
        return torch.rand(SIDE, SIDE, generator=generator)


def check(network: nn.Module, tmp_path: Path, **others: Any) -> Sanity:
    folder = tmp_path / "photos"
    if not folder.exists():
        photos(folder, 6, side=SIDE)
    settings: dict[str, Any] = {"out": tmp_path / "run", "runtime": "eager", "budget": "exact"}
    settings |= {"methods": METHODS} | others
    return scorecam.sanity(opened(network), folder, **settings)


def test_the_edge_detector_fails_the_check(network: nn.Module, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    result = check(network, tmp_path, seeds=2)
    assert result.stages == tuple(STAGES)
    assert result.verdicts["edges"] == "fails"
    for mode in MODES:
        for measure in SIMILARITIES:
            assert all(
                point.mean == pytest.approx(1) for point in result.curve("edges", mode, measure)
            )
    curve = result.curve("gradient")
    assert curve[-1].n == 6  # photos, regardless of the number of networks
    assert curve[-1].mean < 0.9
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_method_that_depends_on_the_weights_passes(network: nn.Module, tmp_path: Path) -> None:
    result = check(network, tmp_path, methods=[OfTheWeights(), *parse_methods("edges")])
    assert result.verdicts == {"of-the-weights": "passes", "edges": "fails"}
    for mode in MODES:
        assert all(point.mean < 0.2 for point in result.curve("of-the-weights", mode))


def test_the_first_stage_is_the_same_in_both_modes(network: nn.Module, tmp_path: Path) -> None:
    result = check(network, tmp_path)
    one, other = (result.curve("gradient", mode)[0] for mode in MODES)
    assert one == other
    assert result.curve("gradient", "cascading")[-1] != result.curve("gradient", "independent")[-1]


def test_output_files_can_be_read_without_scorecam(network: nn.Module, tmp_path: Path) -> None:
    check(network, tmp_path)
    out = tmp_path / "run"
    document = json.loads((out / "sanity.json").read_text("utf-8"))
    assert document["verdicts"]["edges"] == "fails"
    assert len(document["items"]) == 3 * 2 * 4 * 3 + 3 * 3  # and chance, for each method
    assert "| another photo |" in (out / "table.md").read_text("utf-8")
    assert "edges | fails" in (out / "table.md").read_text("utf-8")
    maps = [np.load(path) for path in out.glob("originals/edges/*.npy")]
    assert len(maps) == 6
    assert all(heatmap.shape == (SIDE, SIDE) for heatmap in maps)


def test_chance_is_the_similarity_of_maps_of_different_photos(
    network: nn.Module, tmp_path: Path
) -> None:
    class OfTheNetwork(OfTheWeights):
        """The same map for every photo, so similarity means nothing."""

        name = "of-the-network"

    class OfThePhoto(OfTheWeights):
        name = "of-the-photo"

        def heatmap(self, case: Case) -> torch.Tensor:
            seed = int(case.image.double().abs().sum() * 1000)
            return torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(seed))

    result = check(network, tmp_path, methods=[OfTheNetwork(), OfThePhoto()], modes=["cascading"])
    assert result.curve("of-the-network", "chance")[0].mean == pytest.approx(1)
    [other] = result.curve("of-the-photo", "chance")
    assert abs(other.mean) < 0.1
    assert other.n == 6


def test_an_interrupted_check_resumes(
    network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = check(network, tmp_path / "whole")
    compared = Check._compared
    left = [17]

    def interrupted(self: Any, *arguments: Any) -> Any:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return compared(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Check, "_compared", interrupted)
        with pytest.raises(KeyboardInterrupt):
            check(network, tmp_path)
    reports: list[Any] = []
    again = check(network, tmp_path, progress=reports.append)
    assert again.points == whole.points
    assert reports[-1].done == reports[-1].total == 2 * 4 * 6
    assert reports[-1].fresh == 2 * 4 * 6 - 17


def test_a_network_trained_on_shuffled_labels_is_compared_too(
    network: nn.Module, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    other = Small().eval()
    methods = [OfTheWeights(), *parse_methods("edges")]
    result = check(network, tmp_path, methods=methods, modes=["cascading"], shuffled=other)
    assert result.data_verdicts == {"of-the-weights": "passes", "edges": "fails"}
    assert result.verdicts == {"of-the-weights": "passes", "edges": "fails"}
    assert len(result.curve("edges", "data")) == 1
    assert "labels shuffled" in result.table
    # The same network gives the same maps, so no method passes.
    same = check(network, tmp_path / "same", methods=methods, modes=["cascading"], shuffled=network)
    assert same.data_verdicts == {"of-the-weights": "fails", "edges": "fails"}
    assert "the model's own weights" in same.table
    assert "the model's own weights" not in result.table
    plain = check(network, tmp_path / "plain", methods=methods)
    assert plain.data_verdicts == {}
    assert "labels shuffled" not in plain.table


def test_the_shuffled_network_must_have_the_same_architecture(
    network: nn.Module, tmp_path: Path
) -> None:
    other = Small().eval()
    other.head = nn.Linear(8, 7)
    with pytest.raises(ModelError, match="7 classes"):
        check(network, tmp_path, shuffled=other)
    with pytest.raises(LayerError):
        check(network, tmp_path, shuffled=nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten()))
    deeper = Small().eval()
    deeper.head = nn.Sequential(deeper.head, nn.Linear(deeper.head.out_features, 3))
    with pytest.raises(ModelError, match="has the stages"):
        check(network, tmp_path, shuffled=deeper)


@pytest.mark.needs("plot")
def test_the_first_photos_are_drawn_for_each_network(network: nn.Module, tmp_path: Path) -> None:
    check(network, tmp_path, seeds=2)
    out = tmp_path / "run"
    assert {path.name for path in out.glob("*.png")} == {
        "curves.png", "cascade-1.png", "cascade-2.png", "cascade-3.png",
    }  # fmt: skip
    kept = {path.stem for path in out.glob("maps/*/edges/*.npy")}
    assert len(kept) == 3
    with Image.open(out / "cascade-1.png") as picture:
        assert picture.width > 500


def test_an_unreadable_photo_is_skipped_with_a_remark(network: nn.Module, tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 6, side=SIDE)
    (folder / "red" / "000.png").write_bytes(b"no photo")
    result = check(network, tmp_path)
    assert list(result.failures) == ["red/000.png"]
    assert result.curve("edges")[0].n == 5


def test_without_cascading_no_verdict_is_printed(network: nn.Module, tmp_path: Path) -> None:
    result = check(network, tmp_path, methods="edges", modes=["independent"])
    assert "undecided" not in result.table
    assert "Independent, spearman" in result.table


def test_more_seeds_do_not_narrow_the_interval(network: nn.Module, tmp_path: Path) -> None:
    class OfTheImage(OfTheWeights):
        """The similarity of its maps depends only on the photo, not on the seed."""

        name = "of-the-image"

        def heatmap(self, case: Case) -> torch.Tensor:
            number = int(case.image.double().abs().sum() * 1000)
            generator = torch.Generator().manual_seed(number)
            one, other = torch.rand(2, SIDE, SIDE, generator=generator)
            trained = torch.equal(case.model.module.head.weight, network.head.weight)
            return one if trained else (number % 10) / 10 * one + other

    one, many = (
        check(
            network, tmp_path / str(seeds), methods=[OfTheImage()], modes=["cascading"], seeds=seeds
        )
        for seeds in (1, 4)
    )
    for a, b in zip(one.curve("of-the-image"), many.curve("of-the-image"), strict=True):
        assert (a.n, a.low, a.high) == (b.n, pytest.approx(b.low), pytest.approx(b.high))


class Sometimes(Method):
    """Fails on every network except the trained one, while enabled."""

    name = "sometimes"
    settings: ClassVar[dict[str, object]] = {}
    source = "this test"
    fails = True

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def heatmap(self, case: Case) -> torch.Tensor:
        if self.fails and not torch.equal(case.model.module.head.weight, self.network.head.weight):
            raise ModelError("Memory ran out.")
        return torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def test_failures_on_random_networks_are_reported_and_retried(
    network: nn.Module, tmp_path: Path
) -> None:
    method = Sometimes(network)
    result = check(network, tmp_path, methods=[method], modes=["cascading"])
    assert len(result.failures) == 6 * 4
    assert "Memory ran out." in result.table
    method.fails = False
    again = check(network, tmp_path, methods=[method], modes=["cascading"])
    assert not again.failures
    assert again.curve("sometimes")[-1].n == 6


def test_damaged_files_are_recomputed(network: nn.Module, tmp_path: Path) -> None:
    whole = check(network, tmp_path, modes=["cascading"])
    out = tmp_path / "run"
    next(out.glob("items/*/*/*.json")).write_text("{", "utf-8")
    next(out.glob("originals/edges/*.npy")).write_bytes(b"")
    assert check(network, tmp_path, modes=["cascading"]).points == whole.points


def test_invalid_settings_are_refused(network: nn.Module, tmp_path: Path) -> None:
    twice = ["cascading", "cascading"]
    for others in (
        {"modes": ["upwards"]},
        {"modes": []},
        {"modes": twice},
        {"seeds": 0},
        {"seeds": "2"},
    ):
        with pytest.raises(SettingError):
            check(network, tmp_path, **others)


# ── the verdict ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("interval", "undefined", "text"),
    [
        (Interval(0.1, 0.0, 0.2, 40), 0, "passes"),
        (Interval(0.9, 0.8, 1.0, 40), 0, "fails"),
        (Interval(0.5, 0.4, 0.6, 40), 0, "undecided"),
        (Interval(0.1, 0.0, 0.2, 10), 30, "undecided"),
        (Interval(math.nan, math.nan, math.nan, 0), 40, "undecided"),
        (Interval(0.1, math.nan, math.nan, 1), 0, "passes"),
    ],
)
def test_the_verdict_follows_its_rule(interval: Interval, undefined: int, text: str) -> None:
    points = [
        Point("m", "cascading", "head", "spearman", Interval(1.0, 1.0, 1.0, 40), 0),
        Point("m", "cascading", "stem", "spearman", interval, undefined),
        Point("m", "independent", "stem", "spearman", Interval(1.0, 1.0, 1.0, 40), 0),
    ]
    assert verdict(points, "m", "cascading", "stem") == text


# ── command and pictures ─────────────────────────────────────────────────────────────────────


@pytest.mark.needs("plot")
def test_the_command_accepts_photos_or_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos(Path("photos"), 3, side=16)
    Path("preprocess.json").write_text(json.dumps(PREPROCESS), "utf-8")
    some = [str(path) for path in sorted(Path("photos").rglob("*.png"))]
    words = ["--model", "toy_models:tiny", "--preprocess", "preprocess.json", "--runtime", "eager"]
    one = command("sanity", "photos", "--out", "one", "--methods", "edges", *words)
    two = command("sanity", *some, "--out", "two", "--methods", "edges", *words, "--json")
    assert one.code == two.code == 0, (one, two)
    assert "| edges | fails |" in one.out
    assert two.document["verdicts"] == {"edges": "fails"}
    assert Path("one/curves.png").exists()
