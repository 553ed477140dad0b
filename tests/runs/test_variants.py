"""The variant of a run: `auto` is decided once and recorded, and older runs keep `official`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam.bank.record import Record
from scorecam.methods.controls import Random
from scorecam.methods.score_cam import ScoreCAMMethod
from scorecam.scoring.banks import make_bank
from scorecam.settings import Settings
from small_runs import NAMES, network, opened, preprocess, records, run

pytestmark = pytest.mark.needs("eval")


def unsigned() -> scorecam.Model:
    """The same network on inputs from 0 to 1, so that its layer has no negative numbers."""
    plain = dataclasses.replace(preprocess(), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return scorecam.open_model(network(), preprocess=plain, labels=NAMES)


def config(out: Path) -> dict[str, Any]:
    return json.loads((out / "run.json").read_text("utf-8"))


def recorded(out: Path) -> dict[str, str]:
    """The variant of every Score-CAM method in run.json."""
    return {
        method["name"]: method["settings"]["variant"]
        for method in config(out)["methods"]
        if "variant" in method["settings"]
    }


def maps(out: Path) -> list[bytes]:
    """The files of the run's Score-CAM maps."""
    return [file.read_bytes() for file in sorted(out.glob("maps/scorecam*/*/*.npy"))]


def older(method: str = "scorecam") -> list[ScoreCAMMethod | Random]:
    """The methods of a run of a version without `auto`: `scorecam` meant `official`."""
    return [ScoreCAMMethod(method, variant=scorecam.VARIANTS["official"]), Random()]


# ── a new run ────────────────────────────────────────────────────────────────────────────────


def test_a_run_of_classes_on_an_unsigned_layer_records_official(
    folder: Path, tmp_path: Path
) -> None:
    run(folder, tmp_path / "run", model=unsigned())
    assert recorded(tmp_path / "run") == {"scorecam": "official"}
    assert "scorecam is the variant official" in (tmp_path / "run/table.md").read_text("utf-8")


def test_a_run_on_a_signed_layer_uses_centred_and_says_so(folder: Path, tmp_path: Path) -> None:
    remarks: list[str] = []
    named = "scorecam:variant=centred"
    run(folder, tmp_path / "auto", tell=remarks.append)
    run(folder, tmp_path / "named", methods=f"{named},random")
    assert recorded(tmp_path / "auto") == {"scorecam": "centred"}
    assert maps(tmp_path / "auto") == maps(tmp_path / "named")
    assert any("scorecam is the variant centred" in remark for remark in remarks)
    assert "scorecam is the variant centred" in (tmp_path / "auto/table.md").read_text("utf-8")
    assert "is the variant" not in (tmp_path / "named/table.md").read_text("utf-8")


@pytest.mark.parametrize("budget", ["exact", "fast"])
def test_a_run_of_values_uses_centred(folder: Path, tmp_path: Path, budget: str) -> None:
    model = dataclasses.replace(unsigned(), head="value")
    run(folder, tmp_path / "run", model=model, budget=budget)
    assert recorded(tmp_path / "run") == {"scorecam": "centred"}


def test_a_resumed_run_keeps_its_variant(folder: Path, tmp_path: Path) -> None:
    first = run(folder, tmp_path / "run")
    for file in list(tmp_path.glob("run/items/scorecam/*/*.json"))[:3]:
        file.unlink()
    again = run(folder, tmp_path / "run")
    assert again.rows == first.rows
    assert recorded(tmp_path / "run") == {"scorecam": "centred"}


# ── runs and banks of versions without auto ──────────────────────────────────────────────────


def test_an_older_run_resumes_with_official_even_on_a_signed_layer(
    folder: Path, tmp_path: Path
) -> None:
    before = run(folder, tmp_path / "run", methods=older())  # type: ignore[arg-type]
    kept = maps(tmp_path / "run")
    for file in list(tmp_path.glob("run/items/scorecam/*/*.json"))[:3]:
        file.unlink()
    for file in list(tmp_path.glob("run/maps/scorecam/*/*.npy"))[:3]:
        file.unlink()
    after = run(folder, tmp_path / "run")
    assert after.rows == before.rows
    assert maps(tmp_path / "run") == kept
    assert recorded(tmp_path / "run") == {"scorecam": "official"}


def test_a_named_variant_is_not_replaced_by_the_recorded_one(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run", methods=older())  # type: ignore[arg-type]
    with pytest.raises(scorecam.RunError, match="another run"):
        run(folder, tmp_path / "run", methods="scorecam:variant=centred,random")
    assert len(records(tmp_path / "run")) == 12


def test_an_older_bank_is_read_as_official() -> None:
    class Signed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Identity()

        def forward(self, images: Tensor) -> Tensor:
            return self.maps(images).mean((2, 3))

    image = torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(0))
    bank = make_bank(
        scorecam.open_model(Signed()), image, 1, layer="maps", settings=Settings(runtime="eager")
    )
    assert bank.variant().name == "centred"
    record = Record(bank.size, bank.masking, bank.head, bank.layer, bank.provenance)
    plain = json.loads(json.dumps(record.to_dict()))
    assert Record.from_dict(plain).provenance.auto == "centred"
    del plain["provenance"]["auto"]
    old = dataclasses.replace(bank, provenance=Record.from_dict(plain).provenance)
    assert torch.equal(old.heatmap(1), bank.heatmap(1, "official"))
    assert torch.equal(old.heatmap(1, "centred"), bank.heatmap(1))
    plain["provenance"]["auto"] = "auto"
    with pytest.raises(ValueError, match="variant is unknown"):
        Record.from_dict(plain)


# ── the sanity check ─────────────────────────────────────────────────────────────────────────


def test_a_sanity_check_uses_the_trained_networks_variant(folder: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"runtime": "eager", "budget": "exact"}
    scorecam.sanity(opened(), folder, "scorecam", out=tmp_path / "new", **settings)
    assert recorded(tmp_path / "new") == {"scorecam": "centred"}
    first = older()[:1]
    scorecam.sanity(opened(), folder, first, out=tmp_path / "old", **settings)
    scorecam.sanity(opened(), folder, "scorecam", out=tmp_path / "old", **settings)
    assert recorded(tmp_path / "old") == {"scorecam": "official"}
