"""The consensus variant: Score-CAM where the evidence field agrees with it."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

import scorecam
from reference_process import Process, content_of, maps_of, scores_of
from scorecam import ScoreBank, ScoreCAM, cam
from scorecam.budget import gaussian_process as gp
from scorecam.budget.gaussian_process import Surrogate
from scorecam.cam import VARIANTS, Masking, agreeing
from scorecam.testing import Regions, regions


def surrogate_of(maps: Tensor) -> Surrogate:
    return Surrogate(maps, *cam.distinct(maps, Masking()))


class Field:
    """An independent numpy version of the mean of the process and its gradient."""

    def __init__(self, maps: Tensor, scores: np.ndarray, empty: float, whole: float) -> None:
        content = content_of(maps)
        cells = content.shape[1]
        process = Process(maps)
        squares = ((content[:, None] - content) ** 2).sum(-1)
        self.reach = gp.REACH * np.sqrt(np.sort(squares, axis=None)[(squares.size - 1) // 2])
        self.points = np.concatenate([content, np.zeros((1, cells)), np.ones((1, cells))])
        self.cells = cells
        covariance = np.stack([self.closeness(point) for point in self.points])
        covariance += (gp.OWN + process.noise) * np.eye(len(covariance))
        self.centre = scores.mean()
        known = np.append(scores, [empty, whole]) - self.centre
        self.answer = np.linalg.solve(covariance, known)

    def closeness(self, place: np.ndarray) -> np.ndarray:
        near = np.exp(-((self.points - place) ** 2).sum(1) / (2 * self.reach**2))
        linear = self.points @ place / self.cells
        return gp.CONSTANT + gp.LINEAR * linear + gp.SMOOTH * near

    def mean(self, place: np.ndarray) -> float:
        return float(self.centre + self.closeness(place) @ self.answer)

    def integrated(self, steps: int) -> np.ndarray:
        """Central differences at the midpoints of `steps` steps."""
        width = 1e-5
        total = np.zeros(self.cells)
        for step in range(steps):
            at = np.full(self.cells, (step + 0.5) / steps)
            for cell in range(self.cells):
                aside = np.zeros(self.cells)
                aside[cell] = width
                total[cell] += (self.mean(at + aside) - self.mean(at - aside)) / (2 * width)
        return total / steps


def test_the_field_is_the_integrated_gradient_of_the_process() -> None:
    maps = maps_of(40, 4, 5)
    scores = scores_of(maps, 3)
    empty, whole = scores.amin(dim=0) - 1, scores.amax(dim=0) + 1
    result = surrogate_of(maps).field(scores, empty, whole)
    assert result.shape == (20, 3)
    for column in range(3):
        z = scores[:, column].double().numpy()
        truth = Field(maps, z, float(empty[column]), float(whole[column]))
        np.testing.assert_allclose(
            result[:, column].numpy(), truth.integrated(gp.STEPS), rtol=1e-3, atol=1e-3
        )


def test_the_field_sums_to_the_score_difference() -> None:
    """Its cells sum to the predicted score of the whole image minus that of the empty one."""
    maps = maps_of(60, 5, 5)
    z = scores_of(maps, 1)
    empty, whole = torch.tensor([-2.0]), torch.tensor([7.0])
    truth = Field(maps, z[:, 0].double().numpy(), -2.0, 7.0)
    rise = truth.mean(np.ones(25)) - truth.mean(np.zeros(25))
    result = float(surrogate_of(maps).field(z, empty, whole).sum())
    assert result == pytest.approx(rise, rel=0.02)
    assert rise == pytest.approx(9, rel=0.25)  # the process fits most of the given scores


def test_the_cell_that_determines_the_score_dominates() -> None:
    """The score depends on one cell only, so the field is largest there."""
    maps = maps_of(80, 4, 4)
    z = torch.from_numpy(content_of(maps)[:, [6]]).float() * 5
    field = surrogate_of(maps).field(z, torch.zeros(1), torch.full((1,), 5.0))[:, 0]
    others = field[torch.arange(16) != 6]
    assert float(field[6]) > 4 * float(others.abs().max())


def test_the_map_is_the_geometric_mean_of_both_maps() -> None:
    torch.manual_seed(0)
    network = Regions(torch.rand(3, 6))
    image = regions((4, 5, 6, 7, 8, 9), 8, 8) + 0.3 * torch.rand(6, 8, 8)
    bank = ScoreCAM(network, "maps").bank(image)
    for target in range(3):
        weights = (2 * bank.scores[:, target]).softmax(0)
        own = torch.einsum("k,kij->ij", weights, bank.activations[bank.asked]).relu()
        surrogate = surrogate_of(bank.activations[bank.live])
        field = surrogate.field(bank.scores, bank.fill_scores, bank.image_scores)
        held = field[:, target].reshape(8, 8).relu()
        expected = (own / own.max() * held / held.max()).sqrt()
        torch.testing.assert_close(
            bank.heatmap(target, "consensus"), expected, rtol=1e-3, atol=1e-3
        )


@hypothesis.given(st.integers(0, 2**31), st.floats(1e-20, 1e20))
def test_agreement_is_between_zero_and_one(seed: int, factor: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    one, other = torch.randn(2, 3, 12, generator=generator)
    result = agreeing(one * factor, other)
    assert float(result.min()) >= 0
    assert float(result.max()) <= 1 + 1e-6
    assert not result[(one <= 0) | (other <= 0)].any()
    torch.testing.assert_close(result, agreeing(other, one))


def test_a_class_without_evidence_has_an_empty_map() -> None:
    assert not agreeing(torch.rand(9), -torch.rand(9)).any()
    network = Regions(-torch.ones(1, 4))  # every region lowers the score
    bank = ScoreCAM(scorecam.open_model(network, head="value"), "maps").bank(
        regions((9, 9, 9, 9), 6, 6)
    )
    assert not bank.heatmap(0, "consensus").any()


def test_a_contrast_uses_the_fields_of_both_classes() -> None:
    network = Regions(torch.tensor([[0.5, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.5]]))
    image = regions((16, 16, 16, 16), 8, 8)
    bank = ScoreCAM(network, "maps").bank(image)
    for target, other, region in ((0, 1, 0), (1, 0, 3)):
        heatmap = bank.contrast(target, other, "consensus")
        inside = heatmap[image[region] > 0].sum()
        assert float(inside / heatmap.sum()) > 0.99


def test_a_grid_finer_than_the_surrogates_cells_works() -> None:
    network = Regions(torch.rand(2, 3))
    bank = ScoreCAM(network, "maps").bank(torch.rand(3, 20, 24))
    heatmap = bank.heatmap(0, "consensus")
    assert heatmap.shape == (20, 24)
    assert heatmap.any()


def test_a_bank_from_a_file_gives_nearly_the_same_map(tmp_path: Path) -> None:
    torch.manual_seed(1)
    bank = ScoreCAM(Regions(torch.rand(4, 5)), "maps").bank(torch.rand(5, 8, 8))
    bank.save(tmp_path / "bank.safetensors", classes=[1, 2])
    loaded = ScoreBank.load(tmp_path / "bank.safetensors")
    for target in (1, 2):
        torch.testing.assert_close(
            loaded.heatmap(target, "consensus"),
            bank.heatmap(target, "consensus"),
            rtol=0,
            atol=0.01,
        )


def test_the_formula_names_both_parts() -> None:
    formula = VARIANTS["consensus"].formula_for("logits")
    assert "softmax over k of 2 z_t(X·H_k)" in formula
    assert "integrated gradients" in formula
