"""The picture of a signal: every sample and every value of its map is in the right column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from scorecam.images.colours import COLOURS
from scorecam.images.curves import Plot, envelope
from scorecam.images.legend import Legend
from scorecam.images.signal_picture import signal_picture

LEGEND = Legend("beat  87 %", 0.0, 0.02, "blocks.3", "Score-CAM official")

LEFT, COLUMNS = 132, 1024
"""The first column of the curves, and their number."""


def pixels(image: Tensor | None, heatmap: Tensor, **more: Any) -> np.ndarray:
    """The picture without a legend, as numbers that can be subtracted."""
    return np.asarray(signal_picture(image, heatmap, None, **more)).astype(int)


def spike(length: int, place: int) -> Tensor:
    values = torch.zeros(length)
    values[place] = 1
    return values


def centre(place: int, length: int) -> int:
    return LEFT + int((place + 0.5) / length * COLUMNS)


def strip(drawn: np.ndarray) -> np.ndarray:
    """The row of the picture in the middle of the strip of colours."""
    [*_, row] = [y for y in range(len(drawn)) if (drawn[y, LEFT : LEFT + 8] == COLOURS[0]).all()]
    return drawn[row - 8]


# ── the envelope ─────────────────────────────────────────────────────────────────────────────


def test_the_envelope_of_a_long_signal_keeps_every_extreme() -> None:
    """The largest and the smallest sample of each column, to the last bit."""
    values = np.random.default_rng(0).standard_normal(1_000_000)
    found = envelope(values, 1000)
    blocks = values.reshape(1000, 1000)

    assert (found.low <= blocks.min(axis=1)).all()
    assert (found.high >= blocks.max(axis=1)).all()
    # Beyond its own samples, a column only reaches its borders, halfway to the neighbours' samples.
    padded = np.pad(values, 1, mode="edge")
    reach = np.stack([padded[k : k + 1_000_000] for k in range(3)]).reshape(3, 1000, 1000)
    assert (found.high <= reach.max(axis=(0, 2))).all()
    assert (found.low >= reach.min(axis=(0, 2))).all()


def test_the_envelope_of_few_samples_is_the_line_through_them() -> None:
    found = envelope(np.array([0.0, 1.0]), 8)

    # The samples are at 1/4 and 3/4 of the axis; the line is level outside.
    np.testing.assert_allclose(found.low, [0, 0, 0, 0.25, 0.5, 0.75, 1, 1])
    np.testing.assert_allclose(found.high, [0, 0, 0.25, 0.5, 0.75, 1, 1, 1])


@pytest.mark.parametrize("length", [1, 2, 7, 63, 64, 65, 1000])
def test_the_envelope_covers_every_sample_for_any_length(length: int) -> None:
    values = np.random.default_rng(length).standard_normal(length)
    found = envelope(values, 64)
    columns = ((np.arange(length) + 0.5) * 64 / length).astype(int)

    assert (found.low[columns] <= values).all()
    assert (found.high[columns] >= values).all()
    assert (found.low.min(), found.high.max()) == (values.min(), values.max())


def test_values_that_are_not_finite_are_left_out_of_the_line() -> None:
    found = envelope(np.array([1.0, np.nan, 3.0, np.inf]), 8)
    nothing = envelope(np.array([np.nan]), 4)

    assert (found.low.min(), found.high.max()) == (1, 3)
    assert np.isnan(nothing.low).all()


# ── the picture ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("length", "place"), [(100, 62), (7500, 1234), (10**6, 987_654), (5, 4)])
def test_a_planted_peak_is_in_its_pixel_column(length: int, place: int) -> None:
    """In the strip, on the curve of the map, and on the line of the signal."""
    drawn = pixels(spike(length, place)[None] * 3, spike(length, place))
    hot = (strip(drawn) == COLOURS[255]).all(axis=1).nonzero()[0]
    line = drawn[12:230, LEFT : LEFT + COLUMNS].max(axis=2) > 150
    top = LEFT + np.flatnonzero(line[line.any(axis=1).argmax()])

    assert hot.min() <= centre(place, length) <= hot.max()
    assert hot.max() - hot.min() <= max(4, COLUMNS // length)
    assert top.min() - 1 <= centre(place, length) <= top.max() + 1
    assert top.max() - top.min() <= max(6, COLUMNS // length)


def test_the_line_takes_the_colour_of_the_map() -> None:
    heatmap = torch.cat([torch.zeros(500), torch.ones(500)])
    drawn = pixels(torch.full((1, 1000), 2.0), heatmap)
    line = drawn[12:230].max(axis=0)

    np.testing.assert_array_equal(line[LEFT + 100], [184, 184, 196])
    np.testing.assert_array_equal(line[LEFT + 900], COLOURS[255])


def test_a_larger_value_is_drawn_higher() -> None:
    drawn = pixels(torch.arange(1000.0)[None], torch.zeros(1000))
    row = drawn[11:231, LEFT : LEFT + COLUMNS].max(axis=2) > 150
    heights = row.argmax(axis=0)

    assert heights[5] > 200
    assert heights[-5] < 20
    assert (np.diff(heights) <= 0).all()


def test_each_channel_has_a_row_up_to_six() -> None:
    heights = [len(pixels(torch.randn(count, 50), torch.rand(50))) for count in (3, 6, 7, 15)]

    assert heights[1] == heights[2] == heights[3]
    assert heights[0] < heights[1]


def test_the_legend_names_how_many_channels_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    captions: list[str] = []

    def record(legend: Legend, width: int) -> Image.Image:
        captions.append(legend.caption)
        return Image.new("RGB", (width, 10))

    monkeypatch.setattr("scorecam.images.signal_picture.draw_legend", record)
    for image in (torch.randn(15, 50), torch.randn(2, 50), None):
        signal_picture(image, torch.rand(50), LEGEND)

    assert captions == [
        "6 of 15 channels are shown, 0 to 5. Each channel has its own scale, for display only.",
        "Each channel has its own scale, for display only.",
        "The values of the input are not known.",
    ]


def test_an_unknown_signal_is_grey_with_its_map() -> None:
    drawn = pixels(None, spike(100, 70))

    np.testing.assert_array_equal(drawn[60, LEFT + 10], [90, 90, 90])
    assert np.abs(drawn[60, centre(70, 100)] - COLOURS[255]).max() < 40


@pytest.mark.parametrize(
    "image",
    [torch.ones(1, 1), torch.zeros(2, 12), torch.full((1, 9), torch.nan), torch.ones(1, 2) * 1e38],
    ids=["one sample", "constant", "NaN", "huge"],
)
def test_signals_without_a_range_are_drawn(image: Tensor) -> None:
    picture = signal_picture(image, torch.zeros(image.shape[1]), LEGEND)

    assert picture.width == 1200
    assert (strip(np.asarray(picture).astype(int))[LEFT : LEFT + COLUMNS] == COLOURS[0]).all()


# ── the axis ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("count", "unit", "texts"),
    [
        (1000, 1.0, ["0", "200", "400", "600", "800"]),
        (7500, 1 / 250, ["0", "5", "10", "15", "20", "25"]),
        (1, 1.0, ["0"]),
        (3, 1.0, ["0", "1", "2"]),
        (10**6, 1.0, ["0", "200,000", "400,000", "600,000", "800,000"]),
        (200, 1 / 1000, ["0.00", "0.05", "0.10", "0.15"]),
    ],
)
def test_ticks_are_round_numbers_in_samples_or_seconds(
    count: int, unit: float, texts: list[str]
) -> None:
    assert [text for _, text in Plot(1200, 22, count, unit).ticks()] == texts


def test_a_tick_is_at_the_sample_that_it_names() -> None:
    """At 250 samples per second, 5 seconds are sample 1250."""
    seconds = {text: x for x, text in Plot(1200, 22, 7500, 1 / 250).ticks()}
    drawn = pixels(torch.zeros(1, 7500), spike(7500, 1250), rate=250.0)
    hot = (strip(drawn) == COLOURS[255]).all(axis=1).nonzero()[0]

    assert seconds["5"] in hot
