"""Recipes: values computed by hand, and maps of networks that end as each recipe expects."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scorecam.errors import ScorecamError, SettingError, TargetError
from scorecam.tasks import Regress
from scorecam.tasks.regress import (
    RECIPES,
    Angle,
    Binned,
    Count,
    Gaussian,
    Ordinal,
    Quantile,
    Recipe,
)
from scorecam.tasks.regress.recipes import find_recipe
from value_networks import Named, by_region, explained, image, network


def values(recipe: Recipe, output: Any) -> list[list[float]]:
    """The values of an output, for each image."""
    found = recipe.values(recipe.pick(output))
    return [[round(value, 5) for value in row] for row in found.tolist()]


def rows(*numbers: float) -> Tensor:
    return torch.tensor([numbers], dtype=torch.float32)


# ── values by hand ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("shape", "counts"),
    [((2, 1, 3, 4), [[12], [12]]), ((2, 3, 4), [[12], [12]]), ((2, 1, 5), [[5], [5]]),
     ((2, 1, 2, 3, 4), [[24], [24]]), ((1, 2, 3, 4), [[12, 12]]), ((2, 2), [[1, 1], [1, 1]])],
)  # fmt: skip
def test_a_count_is_the_sum_of_a_map_or_the_given_number(
    shape: tuple[int, ...], counts: list[list[float]]
) -> None:
    assert values(Count(), torch.ones(shape)) == counts
    assert values(Count(), {"features": torch.ones(1, 7), "density": torch.ones(shape)}) == counts


def test_an_angle_is_read_from_sine_and_cosine_of_any_length() -> None:
    pairs = [(3 * math.sin(a), 3 * math.cos(a)) for a in (math.pi / 6, -math.pi / 2)]
    assert values(Angle(), rows(*pairs[0], *pairs[1])) == [[30, -90]]
    assert values(Angle("cos"), rows(*pairs[0][::-1])) == [[30]]
    assert values(Angle(), {"cos": rows(pairs[0][1]), "sin": rows(pairs[0][0])}) == [[30]]
    assert values(Angle("cos"), {"cos": rows(pairs[0][1]), "sin": rows(pairs[0][0])}) == [[30]]


def test_the_score_of_an_angle_is_the_cosine_of_the_difference() -> None:
    own = rows(0, 1)
    turned = torch.tensor([[math.sin(a), math.cos(a)] for a in (0, math.pi / 3, math.pi)])
    scores = Angle().scores(torch.cat([5 * turned, torch.zeros(1, 2)]), own)
    torch.testing.assert_close(scores, torch.tensor([[1.0], [0.5], [-1.0], [0.0]]))


def test_a_rank_is_the_sum_of_the_cumulative_probabilities() -> None:
    assert values(Ordinal(), rows(0, 0, 0)) == [[1.5]]
    assert values(Ordinal(), rows(50, 50, -50, -50)) == [[2]]
    assert values(Ordinal(probabilities=True), rows(0.9, 0.4)) == [[1.3]]


def test_quantiles_are_named_by_their_levels_and_have_a_width() -> None:
    recipe = Quantile()
    assert values(recipe, rows(2, 5, 9)) == [[2, 5, 9, 7]]
    assert recipe.names(4) == ("10 %", "50 %", "90 %", "width 10 % to 90 %")
    assert recipe.default == 1
    backwards = Quantile((0.975, 0.025))
    assert values(backwards, rows(9, 2)) == [[9, 2, 7]]
    assert backwards.names(3) == ("97.5 %", "2.5 %", "width 2.5 % to 97.5 %")
    assert values(Quantile((0.5,)), rows(4)) == [[4]]
    assert Quantile((0.5,)).names(1) == ("50 %",)


def test_the_expected_value_of_bins() -> None:
    assert values(Binned(), torch.zeros(2, 101)) == [[50], [50]]
    assert values(Binned((10, 20)), rows(0, 0, 0, 0, 0)) == [[15]]
    assert values(Binned((1, 10, 100)), rows(math.log(2), math.log(1), math.log(1))) == [[28]]
    assert values(Binned((0, 10), probabilities=True), rows(0.25, 0.75)) == [[7.5]]


@pytest.mark.parametrize(
    ("recipe", "output"),
    [
        (Gaussian(), rows(7, 4)),
        (Gaussian("log-variance"), rows(7, math.log(4))),
        (Gaussian("std"), (rows(7), rows(2))),
        (Gaussian(), {"mean": rows(7), "var": rows(4)}),
        (Gaussian(), {"mu": rows(7), "logvar": rows(math.log(4))}),
        (Gaussian(), {"loc": torch.tensor([7.0]), "Scale": torch.tensor([2.0])}),
    ],
)
def test_a_gaussian_head_gives_the_mean_and_the_standard_deviation(
    recipe: Recipe, output: Any
) -> None:
    assert values(recipe, output) == [[7, 2]]
    assert recipe.names(2) == ("value", "std")
    assert recipe.names(4) == ("value 0", "value 1", "std 0", "std 1")


OUTPUTS: dict[Recipe, tuple[int, ...]] = {
    Count(): (1, 6, 9),
    Angle(): (4,),
    Ordinal(): (5,),
    Quantile(): (3,),
    Binned(): (11,),
    Gaussian(): (4,),
}


@pytest.mark.parametrize("recipe", OUTPUTS, ids=lambda recipe: recipe.name)
def test_values_do_not_depend_on_the_batch_and_need_no_numbers(recipe: Recipe) -> None:
    output = torch.rand(5, *OUTPUTS[recipe], generator=torch.Generator().manual_seed(0))

    def read(some: Tensor) -> Tensor:
        return recipe.scores(recipe.pick(some), recipe.pick(output[:1]))

    alone = torch.cat([read(one) for one in output.split(1)])
    torch.testing.assert_close(read(output), alone)
    assert recipe.values(output).shape[0] == 5
    assert read(output.to("meta")).shape == alone.shape
    assert len(recipe.names(alone.shape[1])) == alone.shape[1]


def test_every_recipe_is_tested_and_found_by_name() -> None:
    assert {type(recipe) for recipe in OUTPUTS} == set(RECIPES.values())
    for name, recipe in RECIPES.items():
        assert find_recipe(name) == recipe()
    assert find_recipe("quantile:0.05, 0.95") == Quantile((0.05, 0.95))
    assert find_recipe("binned:18,90") == Binned((18, 90))
    assert find_recipe(" gaussian : std") == Gaussian("std")


# ── maps ─────────────────────────────────────────────────────────────────────────────────────


def turned(degrees: float) -> tuple[float, float]:
    return math.sin(math.radians(degrees)), math.cos(math.radians(degrees))


def test_the_map_of_an_angle_is_where_the_same_angle_is_seen() -> None:
    vectors = [turned(40), turned(130), turned(-50)]  # the last two cancel
    net = network([list(part) for part in zip(*vectors, strict=True)])
    explanation = explained(net, Regress(recipe="angle"))
    assert explanation.target.value == "40°"
    assert explanation.target.score == pytest.approx(1)
    assert explanation.provenance.unit == ""
    # The cosines are 1, 0 and 0; their mean is 1/3.
    assert by_region(explanation.heatmap, image()) == pytest.approx([2 / 3, 0, 0], abs=1e-4)
    against = explained(net, Regress(recipe="angle", direction="down"))
    assert against.target.value == "40° (why not)"
    assert by_region(against.heatmap, image()) == pytest.approx([0, 1 / 3, 1 / 3], abs=1e-4)


class Density(nn.Module):
    """The first colour as a density map."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 3, 1, bias=False)
        self.maps.weight.data.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x)[:, :1]


def test_the_map_of_a_count_is_where_the_objects_are() -> None:
    explanation = explained(Density(), Regress(recipe="count", unit="people"), layer="maps")
    assert (explanation.target.name, explanation.target.value) == ("count", "4 people")
    found = by_region(explanation.heatmap, image())
    assert found == pytest.approx([4 - 4 / 3, 0, 0], abs=1e-4)


@pytest.mark.parametrize(
    ("recipe", "after", "score"),
    [
        ("ordinal", [], 1 / (1 + math.exp(-30)) + 1 / (1 + math.exp(30))),
        ("ordinal", [nn.Sigmoid()], 1 / (1 + math.exp(-30)) + 1 / (1 + math.exp(30))),
        ("binned:0,10", [], 0),
        ("binned:0,10", [nn.Softmax(1)], 0),
    ],
)
def test_networks_that_end_in_the_recipes_own_step_are_recognised(
    recipe: str, after: list[nn.Module], score: float
) -> None:
    net = network([[30.0, 0, 0], [-30.0, 0, 0]], *after)
    explanation = explained(net, Regress(recipe=recipe))
    assert explanation.target.score == pytest.approx(score, abs=1e-6)
    said = [remark for remark in explanation.provenance.remarks if "as probabilities" in remark]
    assert len(said) == len(after)


def test_the_default_quantile_is_the_median_and_others_are_read_from_its_bank() -> None:
    net = network([[0.0, 0, 3], [3.0, 0, 0], [3.0, 3, 3]])
    explanation = explained(net, Regress(recipe="quantile", unit="m"))
    assert (explanation.target.name, explanation.target.value) == ("50 %", "3 m")
    assert by_region(explanation.heatmap, image()) == [2, 0, 0]
    # The width is the last row minus the first.
    assert by_region(explanation.of("width 10 % to 90 %").heatmap, image()) == [1, 1, 0]


def test_the_spread_of_a_gaussian_head_has_a_map_of_its_own() -> None:
    net = Named(network([[3.0, 0, 0], [0.0, 4, 0]]), {"mean": 1, "variance": 1})
    explanation = explained(net, Regress(recipe="gaussian"), "std", layer="net.0.maps")
    assert explanation.target.score == 2
    assert by_region(explanation.heatmap, image()) == pytest.approx([0, 4 / 3, 0], abs=1e-4)
    assert by_region(explanation.of("value").heatmap, image()) == [2, 0, 0]


def test_a_function_of_the_output_is_a_recipe() -> None:
    net = Named(network([[3.0, 0, 0], [0.0, 6, 0]]), {"one": 1, "two": 1})
    ratio = Regress("%", recipe=lambda output: 10 * output["two"][:, 0])
    explanation = explained(net, ratio, layer="net.0.maps")
    assert explanation.target.value == "60 %"
    assert by_region(explanation.heatmap, image()) == [0, 40, 0]


# ── bad input ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("count:3", "takes no options"),
        ("angle:tan", "first part of an angle 'tan'"),
        ("quantile:10,90", "may be percentages"),
        ("quantile:0.1,0.1", "one is repeated"),
        ("quantile:low,high", "not numbers"),
        ("binned:a", "not numbers"),
        ("gaussian:sigma", "'std'|log-variance"),
        (Angle, "no recipe"),
    ],
)
def test_bad_recipes_are_refused_in_words(recipe: Any, words: str) -> None:
    with pytest.raises(ScorecamError, match=words):
        explained(network([[1.0, 2, 3]]), Regress(recipe=recipe))


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("angle", "3 numbers per image"),
        ("quantile:0.1,0.9", "2 levels, and the output has 3"),
        ("binned:0,1,2,3", "4 bins, and the output has 3"),
        ("gaussian", "as many variances as means"),
    ],
)
def test_outputs_of_another_length_are_refused(recipe: str, words: str) -> None:
    net = network([[1.0, 2, 3]] * 3)
    with pytest.raises(ScorecamError, match=words):
        explained(net, Regress(recipe=recipe))


def test_a_negative_variance_suggests_its_logarithm() -> None:
    with pytest.raises(SettingError, match="log-variance"):
        explained(network([[1.0, 1, 1], [-1.0, -1, -1]]), Regress(recipe="gaussian"))


def test_a_failing_function_is_refused_in_words() -> None:
    net = Named(network([[1.0, 1, 1]]), {"size": 1})
    with pytest.raises(TargetError, match="failed: KeyError: 'age'"):
        explained(net, Regress(recipe=lambda output: output["age"]), layer="net.0.maps")
    with pytest.raises(TargetError, match="are a int, not a tensor"):
        explained(network([[1.0, 1, 1]]), Regress(recipe=len))
