"""Maps made by another program are measured unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scorecam.base.interpolation import upsample
from scorecam.errors import SettingError
from scorecam.methods.names import parse_methods
from small_runs import SIDE, photos, records, run, with_truth

pytestmark = pytest.mark.needs("eval")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return photos(tmp_path / "photos", 6)


def corner(*size: int) -> np.ndarray:
    """A map of the bright corner, where the objects are."""
    heatmap = np.zeros(size, np.float32)
    heatmap[: size[0] // 2, : size[1] // 2] = 1
    return heatmap


def test_a_perfect_map_file_has_all_its_energy_in_the_object(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        relative = path.relative_to(folder).with_suffix("")
        target = made / relative if number % 2 else made / relative.name  # by path, or by its stem
        target.parent.mkdir(parents=True, exist_ok=True)
        if number % 3:
            np.save(target.with_suffix(".npy"), corner(SIDE, SIDE) * 5)
        else:
            Image.fromarray((corner(SIDE, SIDE) * 255).astype(np.uint8)).save(
                target.with_suffix(".png")
            )
    name = f"maps:dir={made}"
    summary = run(with_truth(folder), tmp_path / "run", f"uniform,{name}")
    assert summary.mean(name, "energy_mask").mean == pytest.approx(1)
    assert summary.mean(name, "iou_mask").mean == 1
    assert summary.mean(name, "energy_mask").n == 6


def test_a_map_on_a_grid_is_upsampled_like_score_cam(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    grid = np.random.default_rng(0).random((2, 4)).astype(np.float64)
    for path in folder.rglob("*.png"):
        np.save(made / f"{path.stem}.npy", grid)
    summary = run(with_truth(folder), tmp_path / "run", f"maps:dir={made}")
    whole = upsample(torch.from_numpy(grid).float()[None], (SIDE, SIDE))[0]
    expected = float(whole[: SIDE // 2, : SIDE // 2].sum() / whole.sum())
    assert summary.mean(f"maps:dir={made}", "energy_mask").mean == pytest.approx(expected)


def test_a_missing_or_invalid_map_fails_only_its_photo(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    contents = [
        corner(SIDE, SIDE), corner(SIDE, SIDE)[None], np.full((SIDE, SIDE), np.nan),
        np.array(["a"]), np.zeros((0, 3)),
    ]  # fmt: skip
    stems = sorted(path.stem for path in folder.rglob("*.png"))
    for stem, content in zip(stems, contents, strict=False):
        np.save(made / f"{stem}.npy", content)
    summary = run(folder, tmp_path / "run", f"maps:dir={made},uniform")
    assert summary.mean(f"maps:dir={made}", "average_increase").n == 1
    assert summary.mean("uniform", "average_increase").n == 6
    assert len(summary.failed) == 5
    failures = [r["failure"] for r in records(tmp_path / "run") if "failure" in r]
    messages = " ".join(failure["message"] for failure in failures)
    for phrase in ("no map of", "shape (1, 8, 8)", "not finite", "cannot be read"):
        assert phrase in messages


def test_an_invalid_folder_is_refused() -> None:
    for text in ("maps", "maps:dir=nowhere", "maps:dir="):
        with pytest.raises(SettingError, match="not a folder of maps"):
            parse_methods(text)
