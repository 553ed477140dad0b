"""Public calls refuse an invalid value of any one parameter with a `ScorecamError`."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import invalid_values
import scorecam
from invalid_values import calls, faults, furnish
from scorecam import compat

pytestmark = pytest.mark.needs("eval")


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, invalid_values.Call]]:
    """Every public call, in its own folder, where each has succeeded once.

    So an error is due to the invalid value, and an existing run matches the call.
    """
    folder = tmp_path_factory.mktemp("invalid")
    furnish(folder)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about sparse and quantised tensors
        patch.chdir(folder)
        by_name = dict(calls(folder))
        for call in by_name.values():
            call.function(**call.arguments)
        yield by_name


CALLS = """
check compare evaluate explain explain_pair export_with_map
Explanation Explanation.of Explanation.overlay Explanation.overlays Explanation.pair
Explanation.side_by_side Explanation.to_html Explanation.top Layer layers Masking Note
official.ScoreCAM official.__call__ open_model Preprocess
Preprocess.from_dict Preprocess.imagenet Preprocess.lite Preprocess.load
Preprocess.yolo Progress Provenance pytorch_grad_cam.ScoreCAM pytorch_grad_cam.__call__
pytorch_grad_cam.show_cam_on_image sanity scaled ScoreBank ScoreBank.contrast
ScoreBank.error ScoreBank.heatmap ScoreBank.keep ScoreBank.load ScoreBank.place
ScoreBank.save ScoreBank.target ScoreBank.weights ScoreCAM ScoreCAM.__call__ ScoreCAM.bank
sliding_window Target torchcam.ScoreCAM torchcam.__call__ torchcam.fuse_cams
torchcam.overlay_mask Variant verify
""".split()  # noqa: SIM905  (forty names are easier to read like this)


@pytest.mark.parametrize("name", CALLS)
def test_an_invalid_value_is_refused_or_works(
    public: dict[str, invalid_values.Call], name: str
) -> None:
    call = public[name]
    failures = {parameter: faults(call, parameter) for parameter in call.names}
    assert {name: messages for name, messages in failures.items() if messages} == {}


def test_every_public_call_is_tested(public: dict[str, invalid_values.Call]) -> None:
    assert sorted(public) == sorted(CALLS)
    covered = {name.partition(".")[0] for name in CALLS}
    for name in scorecam.__all__:
        value = getattr(scorecam, name)
        is_no_call = not callable(value) or inspect.isabstract(value)
        is_error = inspect.isclass(value) and issubclass(value, Exception)
        is_result = name in (
            "MapExport",
            "Trust",
            "Verification",
        )  # users never build these records
        assert name in covered or is_no_call or is_error or is_result, name
    modules = {path.stem for path in Path(compat.__path__[0]).glob("*.py")} - {"__init__", "maps"}
    assert modules <= covered
