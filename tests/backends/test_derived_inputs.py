"""A mask on one input reaches another that a user's function computes from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import planted_inputs as networks
import scorecam
from scorecam.errors import SettingError

REGION = (slice(300, 364),)


def signal() -> Tensor:
    x = torch.zeros(1, 1, 400)
    x[..., 320:344] = torch.linspace(1, 2, 24)
    return x


def scalogram(raw: Tensor) -> Tensor:
    """Eight smoothed copies of the signal, `b 1 f t`."""
    smooth = [nn.functional.avg_pool1d(raw, 2 * k + 1, 1, k) for k in range(8)]
    return torch.stack(smooth, 2)


def spectrogram(raw: Tensor) -> Tensor:
    window = torch.hann_window(32)
    return torch.stft(raw[:, 0], 32, 8, window=window, return_complex=True).abs()[:, None, :16]


def with_numpy(raw: Tensor) -> Tensor:
    return torch.from_numpy(np.repeat(np.abs(raw.numpy())[:, :, None], 8, axis=2))


def model_of(function: Any = scalogram, key: Any = "scalogram", **options: Any) -> Any:
    network = networks.Scalogram().eval()
    masked = "raw" if isinstance(key, str) else 0
    return scorecam.open_model(network, masked_input=masked, derived={key: function}, **options)


def energy(heatmap: Tensor, region: tuple[slice, ...] = REGION) -> float:
    return float(heatmap[region].sum() / heatmap.sum())


def test_a_network_of_the_derived_input_only_is_explained_at_the_right_second() -> None:
    explanation = scorecam.explain(model_of(), {"raw": signal()}, 0)
    assert explanation.layer == "cnn"
    assert explanation.heatmap.shape == (400,)
    assert energy(explanation.heatmap) > 0.95
    weights = explanation.bank.weights(0, "increase")
    assert weights.amax() > 0  # the masks reach the scores


@pytest.mark.parametrize(
    ("key", "inputs"),
    [
        ("scalogram", signal()),
        ("scalogram", {"raw": signal(), "scalogram": torch.zeros(1, 1, 8, 400)}),
        (1, signal()),
        (1, (signal(),)),
        (1, (signal(), torch.zeros(1, 1, 8, 400))),
    ],
    ids=["a tensor", "by name, given too", "a tensor, by place", "in order", "in order, given too"],
)
def test_the_derived_input_may_be_left_out_and_is_computed_in_any_case(
    key: Any, inputs: Any
) -> None:
    expected = scorecam.explain(model_of(), {"raw": signal()}, 0, runtime="eager")
    found = scorecam.explain(model_of(key=key), inputs, 0, runtime="eager")
    torch.testing.assert_close(found.heatmap, expected.heatmap)


def test_each_signal_of_a_batch_has_its_own_derived_input() -> None:
    both = torch.cat([signal(), signal().flip(2)])
    maps = scorecam.ScoreCAM(model_of())({"raw": both}, 0)
    assert energy(maps[0]) > 0.95
    assert energy(maps[1], (slice(36, 100),)) > 0.95
    torch.testing.assert_close(scorecam.ScoreCAM(model_of())(both, 0), maps)


def test_a_spectrogram_keeps_the_time_axis() -> None:
    explanation = scorecam.explain(model_of(spectrogram), signal(), 0)
    assert energy(explanation.heatmap, (slice(280, 384),)) > 0.9


def runtimes() -> list[Any]:
    return [
        pytest.param("openvino", marks=pytest.mark.needs("openvino")),
        pytest.param("compile", marks=pytest.mark.long),
    ]


@pytest.mark.parametrize("runtime", runtimes())
def test_a_converted_network_includes_the_function(runtime: Any) -> None:
    model = model_of()
    expected = scorecam.explain(model, signal(), 0, runtime="eager").bank.scores
    explanation = scorecam.explain(model, signal(), 0, runtime=runtime)
    assert explanation.provenance.runtime == runtime, explanation.provenance.remarks
    torch.testing.assert_close(explanation.bank.scores, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.needs("openvino")
def test_a_function_outside_torch_is_never_frozen_into_a_conversion() -> None:
    model = model_of(with_numpy, layout="channels first")
    given = {"layer": "cnn.stem", "runtime": "openvino"}
    with pytest.raises(scorecam.LayerError):  # its axes cannot be followed through NumPy
        scorecam.explain(model, signal(), 0, **given)
    model = model_of(with_numpy, reshape=lambda maps: maps.flatten(1, 2))
    explanation = scorecam.explain(model, signal(), 0, **given)
    assert explanation.provenance.runtime == "eager"
    assert any("outside PyTorch" in remark for remark in explanation.provenance.remarks)
    assert explanation.bank.scores.std(0).amax() > 0


@pytest.mark.needs("openvino")
def test_a_function_with_state_is_converted_again_when_the_state_changes() -> None:
    state = {"gain": 1.0}
    model = model_of(lambda raw: scalogram(raw) * state["gain"], head="value")
    once = scorecam.explain(model, signal(), 0, runtime="openvino").bank.scores
    state["gain"] = 2.0
    twice = scorecam.explain(model, signal(), 0, runtime="openvino").bank.scores
    torch.testing.assert_close(twice, 2 * once, rtol=1e-3, atol=1e-4)


def fails(raw: Tensor) -> Tensor:
    raise ValueError(f"no such wavelet for {raw.dtype}")


BAD: dict[str, tuple[Any, str]] = {
    "raises": (fails, "no such wavelet"),
    "one for all": (lambda raw: scalogram(raw)[:1].repeat(2, 1, 1, 1), r"shape \(2, 1, 8, 400\)"),
    "no batch": (lambda raw: scalogram(raw).sum(), r"shape \(\)"),
    "no tensor": (lambda raw: scalogram(raw).tolist(), "returned a list"),
}


@pytest.mark.parametrize(("function", "phrase"), BAD.values(), ids=BAD)
def test_a_function_that_fails_is_named_with_what_it_returned(function: Any, phrase: str) -> None:
    with pytest.raises(SettingError, match=phrase) as caught:
        scorecam.explain(model_of(function), signal(), 0)
    assert "derived['scalogram']" in caught.value.what


def test_an_unknown_derived_input_is_refused() -> None:
    with pytest.raises(SettingError, match="does not take") as caught:
        model_of(key="scalogramm")
    assert "Did you mean 'scalogram'?" in caught.value.likely
    with pytest.raises(SettingError, match="does not take"):
        model_of(key=3)


@pytest.mark.parametrize(
    "derived",
    [scalogram, {"scalogram": 3}, {1.5: scalogram}],
    ids=["a function", "a number", "1.5"],
)
def test_functions_are_given_by_the_name_of_an_input(derived: Any) -> None:
    with pytest.raises(SettingError, match="derived= "):
        scorecam.open_model(networks.Scalogram(), derived=derived)
