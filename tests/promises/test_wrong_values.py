"""No public call answers a wrong value with anything but words: one parameter at a time."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import scorecam
import wrong_values
from scorecam import compat
from wrong_values import calls, faults, furnish

pytestmark = pytest.mark.needs("eval")


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, wrong_values.Call]]:
    """Every public call, in a folder of its own, where each has worked once.

    So an error is about the wrong value, and a run that is there is the right one.
    """
    folder = tmp_path_factory.mktemp("wrong")
    furnish(folder)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's remarks on sparse and quantised tensors
        patch.chdir(folder)
        found = dict(calls(folder))
        for call in found.values():
            call.function(**call.given)
        yield found


CALLS = """
check compare evaluate explain
Explanation Explanation.of Explanation.side_by_side Explanation.to_html Explanation.top
Layer layers Masking Note official.ScoreCAM official.__call__ open_model Preprocess
Preprocess.from_dict Preprocess.imagenet Preprocess.lite Preprocess.load Progress
Provenance pytorch_grad_cam.ScoreCAM pytorch_grad_cam.__call__
pytorch_grad_cam.show_cam_on_image sanity scaled ScoreBank ScoreBank.contrast
ScoreBank.error ScoreBank.heatmap ScoreBank.keep ScoreBank.load ScoreBank.place
ScoreBank.save ScoreBank.target ScoreBank.weights ScoreCAM ScoreCAM.__call__ ScoreCAM.bank
Target torchcam.ScoreCAM torchcam.__call__ torchcam.fuse_cams torchcam.overlay_mask verify
Variant
""".split()  # noqa: SIM905  (forty names are easier to read so)


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_value_is_refused_in_words_or_works(
    public: dict[str, wrong_values.Call], name: str
) -> None:
    call = public[name]
    found = {parameter: faults(call, parameter) for parameter in call.names}
    assert {parameter: wrong for parameter, wrong in found.items() if wrong} == {}


def test_every_public_call_is_tried(public: dict[str, wrong_values.Call]) -> None:
    assert sorted(public) == sorted(CALLS)
    covered = {name.partition(".")[0] for name in CALLS}
    for name in scorecam.__all__:
        value = getattr(scorecam, name)
        no_call = not callable(value) or inspect.isabstract(value)
        an_error = inspect.isclass(value) and issubclass(value, Exception)
        a_result = name in ("Trust", "Verification")  # records that only one function makes
        assert name in covered or no_call or an_error or a_result, name
    modules = {path.stem for path in Path(compat.__path__[0]).glob("*.py")} - {"__init__", "maps"}
    assert modules <= covered
