"""Parts of outputs, written after their names: `boxes[:, max, 3]`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scorecam.errors import TargetError
from scorecam.model.readout import read, readout_for

BOXES = torch.arange(2 * 5 * 4, dtype=torch.float32).reshape(2, 5, 4) % 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("boxes[:, max, 3]", BOXES.amax(1)[:, 3]),
        ("boxes[:,mean,:]", BOXES.mean(1)),
        ("boxes[:, -1, :]", BOXES[:, 4]),
        ("0[:, max, max]", BOXES.amax((1, 2))),
        ("time[max, :, :]", BOXES.amax(1)),
    ],
)
def test_numbers_and_words_take_a_part_of_each_axis(text: str, expected: Tensor) -> None:
    output = {"boxes": BOXES, "time": BOXES.transpose(0, 1)}
    scores = read(output, readout_for(text), 2)
    torch.testing.assert_close(scores, expected if expected.ndim == 2 else expected[:, None])


def test_without_a_name_the_part_is_that_of_the_whole_output() -> None:
    torch.testing.assert_close(read(BOXES, readout_for("[:, max, :]"), 2), BOXES.amax(1))


def test_a_name_with_brackets_is_a_name_first() -> None:
    output = {"boxes[0]": BOXES[:, 0], "boxes": BOXES}
    assert read(output, readout_for("boxes[0]"), 2).shape == (2, 4)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("boxes[:, max]", "2 axes, and the output has the shape (2, 5, 4)"),
        ("boxes[:, 5, :]", "a number below 5"),
        ("boxes[:, sum, :]", "no entry 'boxes[:, sum, :]'"),
        ("[:, max, :]", "the output is a dict"),
        ("boxes", "'NAME[:, max, :]'"),
    ],
)
def test_a_part_that_is_not_there_is_an_error_with_what_to_do(text: str, phrase: str) -> None:
    with pytest.raises(TargetError) as caught:
        read({"boxes": BOXES}, readout_for(text), 2)
    assert phrase in str(caught.value)
    assert "--output" in str(caught.value)


def test_the_advice_keeps_the_batch_wherever_it_is() -> None:
    with pytest.raises(TargetError, match=r"'NAME\[max, :, :\]'"):
        read(torch.rand(20, 2, 7), readout_for(None), 2)
