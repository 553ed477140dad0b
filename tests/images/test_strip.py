"""The picture of a video: the frame of the map's maximum is shown, and the curve is over time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import ImageColor
from torch import Tensor

from scorecam.images.colours import COLOURS
from scorecam.images.legend import Legend
from scorecam.images.strip import MOST_FRAMES, chosen_frames, strip
from scorecam.images.volume_picture import CROSS

LEGEND = Legend("opening a door  62 %", 0.0, 0.02, "layer4", "Score-CAM official")


def planted(frame: int, shape: tuple[int, int, int]) -> Tensor:
    """A hot block in one frame: the lower right quarter."""
    heatmap = torch.zeros(shape)
    heatmap[frame, shape[1] // 2 :, shape[2] // 2 :] = 1
    return heatmap


def outline(drawn: np.ndarray) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the outlined frame, without its outline."""
    blue = (drawn == ImageColor.getrgb(CROSS)).all(axis=2)
    columns = np.flatnonzero(blue.sum(axis=0) > 60)
    rows = np.flatnonzero(blue.sum(axis=1) > 60)
    return columns[1] + 1, rows[1] + 1, columns[-2], rows[-2]


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 16, 300])
def test_the_frame_of_the_maximum_is_always_shown(count: int) -> None:
    for best in range(count):
        frames = chosen_frames(count, best)
        assert best in frames
        assert frames == sorted(set(frames))
        assert len(frames) == min(count, MOST_FRAMES)
        assert frames[0] >= 0
        assert frames[-1] < count


def test_frames_are_at_equal_distances_from_the_first_to_the_last() -> None:
    assert chosen_frames(15, None) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert chosen_frames(5, 3) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("frame", "count"), [(0, 32), (21, 32), (31, 32), (3, 5)])
def test_the_hot_block_is_in_the_outlined_frame(frame: int, count: int) -> None:
    """In its lower right quarter, and nowhere else in the strip."""
    heatmap = planted(frame, (count, 40, 60))
    drawn = np.asarray(strip(torch.zeros(3, count, 40, 60), heatmap, None)).astype(int)
    left, top, right, bottom = outline(drawn)
    hot = (drawn[:bottom] > [200, 200, 120]).all(axis=2)
    hot &= drawn[:bottom, :, 2] < 200
    rows, columns = hot.nonzero()

    assert (right - left) / (bottom - top) == pytest.approx(60 / 40, rel=0.02)
    assert columns.min() == pytest.approx((left + right) / 2, abs=4)
    assert rows.min() == pytest.approx((top + bottom) / 2, abs=4)
    assert right - 2 <= columns.max() < right
    assert bottom - 2 <= rows.max() < bottom
    order = chosen_frames(count, frame)
    place = (order.index(frame) + 0.5) / len(order)
    assert (left + right) / 2 == pytest.approx(138 + place * 1416, abs=4)


@pytest.mark.parametrize("frame", [0, 12, 31])
def test_the_curve_has_its_peak_at_the_frame(frame: int) -> None:
    drawn = np.asarray(strip(torch.zeros(3, 32, 40, 60), planted(frame, (32, 40, 60)), None))
    curve = drawn[-160:-48].astype(int)
    hot = (np.abs(curve - (0.85 * COLOURS[255] + 0.15 * np.array([34, 34, 43]))) < 6).all(axis=2)
    columns = hot.nonzero()[1]

    left, columns_in_all = 138, 1416
    start, end = (left + (frame + part) / 32 * columns_in_all for part in (0, 1))
    assert len(columns)
    assert start - 2 <= columns.min()
    assert columns.max() <= end + 2


def test_the_colours_of_the_frames_are_stretched_together() -> None:
    """Red, in model space, stays red; the smallest value of the video is black."""
    video = torch.full((3, 4, 20, 20), -2.0)
    video[0, 2] = 2.0
    drawn = np.asarray(strip(video, torch.zeros(4, 20, 20), None)).astype(int)
    colours = drawn[100, [138 + round((k + 0.5) / 4 * 1416) for k in range(4)]]

    np.testing.assert_array_equal(colours[[0, 1, 3]], 0)
    assert colours[2, 0] > 3 * colours[2, 1] / 2
    assert colours[2, 1] == colours[2, 2]


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 2), (40, 1, 200), (9, 300, 2)], ids=str)
@pytest.mark.parametrize("constant", [False, True])
def test_videos_of_any_shape_are_drawn(shape: tuple[int, int, int], constant: bool) -> None:
    heatmap = torch.zeros(shape) if constant else torch.rand(shape)
    picture = strip(torch.zeros(3, *shape), heatmap, LEGEND)

    assert picture.width == 1600
    assert picture.height < 1300
