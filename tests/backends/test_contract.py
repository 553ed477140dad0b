"""The contract that every backend keeps, on the same networks: see `backend_contract`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
from backend_contract import (
    BACKENDS,
    CHANNELS,
    CLASSES,
    GRID,
    SIDE,
    Backend,
    classifier,
    images,
    with_softmax,
)
from scorecam.errors import LayerError, ModelError, ScorecamError, TargetError
from scorecam.model.model import Model, Randomisable, WhiteBox


@dataclass(frozen=True)
class Case:
    """One backend, and the network as it opens it."""

    backend: Backend
    model: Model
    reopened: Callable[[nn.Module], Model]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(backend, id=name, marks=pytest.mark.needs(*backend.needs))
        for name, backend in BACKENDS.items()
    ],
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    backend: Backend = request.param

    def opened(network: nn.Module) -> Model:
        return backend.open(network, tmp_path_factory.mktemp("network"))

    return Case(backend, opened(classifier()), opened)


@pytest.fixture
def model(case: Case) -> Model:
    return case.model


def close(case: Case, one: Tensor, other: Tensor) -> bool:
    """Whether two sets of scores are the same to the backend's precision."""
    span = float(other.max() - other.min())
    return bool((one - other).abs().max() <= case.backend.scores * max(span, 1e-6))


def default(model: Model) -> str:
    return model.find_layer(None, images())


# ── layers ───────────────────────────────────────────────────────────────────────────────────


def test_exactly_one_layer_is_the_default(model: Model) -> None:
    layers = model.layers(images())
    [chosen] = [layer for layer in layers if layer.default]

    assert chosen.name == default(model)
    assert (chosen.grid, chosen.channels, chosen.on_path) == (GRID, CHANNELS, True)
    assert chosen.layout == "channels first"
    assert chosen.why


def test_every_layer_has_a_name_of_its_own_that_finds_it(model: Model) -> None:
    names = [layer.name for layer in model.layers(images())]

    assert len(set(names)) == len(names)
    assert [model.find_layer(name, images()) for name in names] == names


def test_every_listed_layer_gives_the_maps_that_the_list_states(model: Model) -> None:
    for layer in model.layers(images()):
        maps, _ = model.activations(images(), layer.name)
        assert maps.shape == (1, layer.channels, *layer.grid), layer


def test_grids_follow_the_size_of_the_image_or_it_is_refused(case: Case, model: Model) -> None:
    large = torch.rand(1, 3, 2 * SIDE, 2 * SIDE)
    if not case.backend.any_size:
        with pytest.raises(ScorecamError):
            model.layers(large)
        return
    [chosen] = [layer for layer in model.layers(large) if layer.default]
    assert chosen.grid == (2 * GRID[0], 2 * GRID[1])


# ── activations and scores ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [1, 2, 5])
def test_activations_and_scores_have_their_shapes_in_float32(model: Model, count: int) -> None:
    maps, scores = model.activations(images(count), default(model))

    assert maps.shape == (count, CHANNELS, *GRID)
    assert scores.shape == (count, CLASSES)
    assert maps.dtype == scores.dtype == torch.float32
    assert model.scores(images(count)).shape == (count, CLASSES)
    assert model.scores(images(count)).dtype == torch.float32


def test_one_pass_for_activations_gives_the_same_scores(case: Case, model: Model) -> None:
    _, scores = model.activations(images(3), default(model))

    assert close(case, scores, model.scores(images(3)))


def test_results_are_copies(model: Model) -> None:
    layer = default(model)
    maps, scores = model.activations(images(), layer)
    kept = maps.clone(), scores.clone()
    model.activations(images(1, seed=9), layer)
    model.scores(images(1, seed=9))

    assert torch.equal(maps, kept[0])
    assert torch.equal(scores, kept[1])
    maps.zero_()
    scores.zero_()
    again = model.activations(images(), layer)
    assert torch.equal(again[0], kept[0])
    assert torch.equal(again[1], kept[1])


def test_maps_and_scores_do_not_depend_on_the_other_images(case: Case, model: Model) -> None:
    batch = images(5)
    maps, scores = model.activations(batch, default(model))
    for start, stop in ((0, 1), (1, 3), (2, 5)):
        own_maps, own_scores = model.activations(batch[start:stop], default(model))
        assert close(case, own_maps, maps[start:stop])
        assert close(case, own_scores, scores[start:stop])


def test_the_images_are_left_unchanged(model: Model) -> None:
    batch = images(2)
    kept = batch.clone()
    model.scores(batch)
    model.activations(batch, default(model))

    assert torch.equal(batch, kept)


def test_images_may_have_any_layout_in_memory(case: Case, model: Model) -> None:
    batch = images(3)
    expected = model.scores(batch)
    strided = torch.rand(3, 3, SIDE, 2 * SIDE)
    strided[..., ::2] = batch

    for same in (
        batch.to(memory_format=torch.channels_last),
        batch.transpose(2, 3).contiguous().transpose(2, 3),
        strided[..., ::2],
    ):
        assert close(case, model.scores(same), expected)


def test_scores_and_maps_are_those_of_pytorch(case: Case, model: Model) -> None:
    truth = scorecam.open_model(classifier())
    for own, expected in zip(
        model.activations(images(3), default(model)),
        truth.activations(images(3), default(truth)),
        strict=True,
    ):
        assert close(case, own, expected)


# ── readouts ─────────────────────────────────────────────────────────────────────────────────


def first_tensor(output: Any) -> Tensor:
    """The only tensor of an output: itself, or the one in a dict."""
    if isinstance(output, dict):
        [output] = output.values()
    assert isinstance(output, Tensor)
    return output


def test_a_readout_gets_tensors_and_gives_the_scores(case: Case, model: Model) -> None:
    def contrast(output: Any) -> Tensor:
        return first_tensor(output)[:, 3] - first_tensor(output)[:, 1]

    read = model.with_readout(contrast)
    scores = model.scores(images(2))

    assert read.head == "value"
    assert close(case, read.scores(images(2)), (scores[:, 3] - scores[:, 1])[:, None])
    assert model.scores(images(2)).shape == (2, CLASSES)


def test_a_target_function_can_be_explained(case: Case, model: Model) -> None:
    def target(output: Any) -> Tensor:
        return first_tensor(output)[:, 2]

    own = scorecam.explain(model, images()[0], target)
    expected = scorecam.explain(classifier(), images()[0], target)

    assert torch.allclose(own.scaled, expected.scaled, atol=case.backend.maps, rtol=0)


@pytest.mark.parametrize(
    "wrong",
    [lambda _: 3, lambda _: 1 / 0, lambda output: first_tensor(output)[:1]],
    ids=["no tensor", "an error", "another batch"],
)
def test_a_wrong_readout_is_an_error_in_words(model: Model, wrong: Callable[[Any], Any]) -> None:
    with pytest.raises(TargetError):
        model.with_readout(wrong).scores(images(2))


# ── errors ───────────────────────────────────────────────────────────────────────────────────


def test_a_layer_that_does_not_exist_is_an_error_in_words(model: Model) -> None:
    for call in (
        lambda: model.activations(images(), "no such layer"),
        lambda: scorecam.explain(model, images()[0], layer="no such layer"),
    ):
        with pytest.raises(LayerError, match="no such layer"):
            call()


@pytest.mark.parametrize("shape", [(1, 4, SIDE, SIDE), (1, 1, SIDE, SIDE)])
def test_wrong_colours_are_an_error_and_change_nothing(
    model: Model, shape: tuple[int, ...]
) -> None:
    before = model.scores(images())
    for call in (
        lambda: model.scores(torch.rand(shape)),
        lambda: scorecam.explain(model, torch.rand(shape)),
    ):
        with pytest.raises(ScorecamError):
            call()
    assert torch.equal(model.scores(images()), before)


def test_scores_that_are_not_finite_are_an_error(case: Case) -> None:
    network = classifier()
    with torch.no_grad():
        network[-1].bias[0] = float("nan")  # type: ignore[index]
    model = case.reopened(network)

    with pytest.raises(ModelError, match="NaN or infinity"):
        scorecam.explain(model, images()[0])


# ── the fingerprint ──────────────────────────────────────────────────────────────────────────


def test_the_fingerprint_is_stable_and_shows_each_weight(case: Case, model: Model) -> None:
    own = model.fingerprint()
    network = classifier()
    weights = next(network.parameters())
    with torch.no_grad():
        weights[0, 0, 0, 0] += 1e-3

    assert len(own) == 64
    assert model.fingerprint() == own == case.reopened(classifier()).fingerprint()
    assert case.reopened(network).fingerprint() != own


def test_a_pass_does_not_change_the_fingerprint(model: Model) -> None:
    before = model.fingerprint()
    scorecam.explain(model, images()[0])

    assert model.fingerprint() == before


# ── weights and gradients ────────────────────────────────────────────────────────────────────


def test_a_backend_has_the_abilities_that_it_states(case: Case, model: Model) -> None:
    assert isinstance(model, Randomisable) == case.backend.randomisable
    assert isinstance(model, WhiteBox) == case.backend.gradients


def test_a_randomised_copy_changes_scores_and_leaves_the_model_unchanged(
    case: Case, model: Model
) -> None:
    if not isinstance(model, Randomisable):
        assert not case.backend.randomisable
        return
    stages = model.stages(images())
    before, fingerprint = model.scores(images()), model.fingerprint()
    copies = [model.randomised(stages[:1], images(), seed) for seed in (0, 0, 1)]
    scores = [copy.scores(images()) for copy in copies]

    assert len(set(stages)) == len(stages) >= 3
    assert torch.equal(model.scores(images()), before)
    assert model.fingerprint() == fingerprint
    assert torch.equal(scores[0], scores[1])
    assert not torch.allclose(scores[0], before)
    assert not torch.allclose(scores[0], scores[2])
    assert copies[0].fingerprint() != fingerprint


def test_stages_run_from_the_output_to_the_input(case: Case, model: Model) -> None:
    if not isinstance(model, Randomisable):
        assert not case.backend.randomisable
        return
    maps, _ = model.activations(images(), default(model))
    stages = model.stages(images())
    last, first = (model.randomised([stage], images(), 0) for stage in (stages[0], stages[-1]))

    assert torch.equal(last.activations(images(), default(last))[0], maps)
    assert not torch.allclose(first.activations(images(), default(first))[0], maps)


# ── banks, runtimes and precisions ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_bank_is_that_of_pytorch(case: Case, model: Model, place: int) -> None:
    image = images(3)[place]
    own = scorecam.explain(model, image)
    expected = scorecam.explain(classifier(), image, runtime="eager")

    assert own.target.index == expected.target.index
    assert own.bank.head == expected.bank.head == "logits"
    assert torch.equal(own.bank.live, expected.bank.live)
    assert close(case, own.bank.scores, expected.bank.scores)
    assert close(case, own.bank.fill_scores, expected.bank.fill_scores)
    assert torch.allclose(own.scaled, expected.scaled, atol=case.backend.maps, rtol=0)


def test_a_softmax_at_the_end_is_known_for_certain(case: Case) -> None:
    own = scorecam.explain(case.reopened(with_softmax()), images()[0])
    answers = with_softmax()(images()).detach()

    # A backend may read the logits before it instead.
    assert own.bank.head == "probabilities" or bool((own.bank.image_scores > 1).any())
    assert own.target.probability == pytest.approx(float(answers.max()), abs=case.backend.scores)
    assert not [remark for remark in own.provenance.remarks if "treated as logits" in remark]


def test_maps_do_not_depend_on_chunking(case: Case, model: Model) -> None:
    batch = images(3)
    whole = scorecam.ScoreCAM(model)(batch)
    single = scorecam.ScoreCAM(model, batch_size=1)
    parts = torch.cat([single(picture[None]) for picture in batch])
    scale = whole.amax(dim=(1, 2), keepdim=True)

    assert bool(scale.min() > 0)
    assert float(((whole - parts) / scale).abs().max()) <= max(1e-5, case.backend.maps / 10)


def test_every_offered_runtime_and_precision_works(case: Case, model: Model) -> None:
    expected = scorecam.explain(model, images()[0])
    runtimes = [name for name in model.runtimes if name not in case.backend.elsewhere]

    assert runtimes[0] == model.runtimes[0]
    for runtime in runtimes:
        for precision in model.precisions:
            if precision == "int8" and runtime not in ("auto", "openvino"):
                with pytest.raises(scorecam.SettingError, match="does not compute in int8"):
                    scorecam.explain(model, images()[0], runtime=runtime, precision=precision)
                continue
            own = scorecam.explain(model, images()[0], runtime=runtime, precision=precision)
            made = own.provenance
            used = (made.runtime, made.precision) == (runtime, precision)
            assert used or made.remarks, (runtime, precision)
            reduced = precision != model.precision
            allowed = 0.05 if reduced else case.backend.maps
            assert torch.allclose(own.scaled, expected.scaled, atol=allowed, rtol=0)


def test_a_runtime_that_is_not_offered_is_refused_with_those_that_are(model: Model) -> None:
    with pytest.raises(scorecam.SettingError) as raised:
        scorecam.explain(model, images()[0], runtime="punched cards")
    assert all(name in str(raised.value) for name in ("auto", *model.runtimes))


def test_records_name_the_backends_versions(model: Model) -> None:
    versions = model.versions()
    backend = scorecam.explain(model, images()[0]).provenance.backend

    assert versions
    assert backend == ", ".join(f"{name} {version}" for name, version in versions.items())


def test_a_model_states_what_it_is(model: Model) -> None:
    assert model.axes == 2
    assert model.spec
    assert model.precision in model.precisions
    assert model.names is None
    assert "auto" not in (*model.runtimes, *model.precisions)
    assert torch.zeros(1, device=model.device).device == model.device


# ── threads ──────────────────────────────────────────────────────────────────────────────────


def test_several_threads_get_the_maps_of_one(case: Case, model: Model) -> None:
    batch = images(4)
    expected = [scorecam.explain(model, picture).heatmap for picture in batch]
    found: dict[int, Tensor] = {}

    def explain(place: int) -> None:
        found[place] = scorecam.explain(model, batch[place]).heatmap

    threads = [threading.Thread(target=explain, args=(place,)) for place in range(len(batch))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for place, heatmap in enumerate(expected):
        largest = float((found[place] - heatmap).abs().max())
        assert largest <= case.backend.maps / 10 * float(heatmap.max())
