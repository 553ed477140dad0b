"""Banks of random networks, compared before and after saving."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import scorecam
from networks import InPlace, Network, build, images_for
from scorecam import cam
from scorecam.cam import Head

NAMES = ("a", "b", "c", "d", "e")


def make_bank(
    kind: type[Network] = InPlace, head: Head = "logits", budget: Any = "exact", **masking: Any
) -> scorecam.ScoreBank:
    network = build(kind)
    output = torch.sigmoid if head == "probabilities" else None
    model = scorecam.open_model(network, head=head, labels=NAMES, output=output)
    method = scorecam.ScoreCAM(
        model, network.layer, budget=budget, masking=scorecam.Masking(**masking)
    )
    return method.bank(images_for(network)[0])


def identical(
    one: scorecam.ScoreBank, other: scorecam.ScoreBank, but: tuple[str, ...] = ()
) -> None:
    """Check that all fields are equal to the last bit; NaN equals NaN."""
    for field in dataclasses.fields(one):
        expected, actual = getattr(one, field.name), getattr(other, field.name)
        if field.name in but:
            continue
        if isinstance(expected, Tensor):  # compares dtypes too
            torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
        else:
            assert actual == expected, field.name


def scaled(bank: scorecam.ScoreBank, target: int | str | None, variant: str = "official") -> Tensor:
    return cam.scaled(bank.heatmap(target, variant))


def through_a_file(bank: scorecam.ScoreBank, folder: Path) -> scorecam.ScoreBank:
    """Save and load a bank, and check all fields; maps and logits are rounded to float16.

    float16 has 11 significant bits, so rounding changes a number by at most 2^-11 of its size. Maps
    are scaled so that their largest number is at least 2^13. The smallest step is 2^-24, and half
    of it is 2^-38 of the largest number. Logits are stored relative to the largest of their row,
    which is stored in float32.
    """
    bank.save(folder / "bank.safetensors")
    loaded = scorecam.ScoreBank.load(folder / "bank.safetensors")
    identical(bank, loaded, but=("activations", "scores"))

    largest = float(bank.activations[bank.activations.isfinite()].abs().max())
    torch.testing.assert_close(
        loaded.activations, bank.activations, rtol=2**-11, atol=2**-38 * largest, equal_nan=True
    )
    assert loaded.answered.tolist() == bank.answered.tolist()
    before, after = (side.scores[bank.answered] for side in (bank, loaded))
    if bank.head != "logits":
        assert torch.equal(before, after)
    elif len(before):
        offset = before.amax(dim=1, keepdim=True) - before
        float32 = 2**-23 * before.abs()  # error of subtracting and adding the largest logit
        assert ((after - before).abs() <= 2**-11 * offset + 2**-25 + float32).all()

    loaded.save(folder / "again.safetensors")
    identical(
        loaded, scorecam.ScoreBank.load(folder / "again.safetensors")
    )  # saving again does not round again
    return loaded
