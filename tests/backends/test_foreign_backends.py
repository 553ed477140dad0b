"""A third party's backend works end to end: nothing above the backends knows its runtimes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import scorecam
from command_line import scorecam as command
from foreign_model import LAYER, WEIGHTS, Foreign, foreign, reweighted
from scorecam.audit import audit
from scorecam.bank.record import Record
from scorecam.cam import Masking
from scorecam.errors import ModelError, SettingError
from scorecam.model.model import Randomisable, WhiteBox

IMAGE = torch.linspace(0, 1, 16 * 16).reshape(1, 16, 16).expand(3, 16, 16)
SPEED: dict[str, Any] = {"runtime": "tensorrt", "precision": "fp8"}


@pytest.fixture
def photos(tmp_path: Path) -> str:
    """Two photos, dark and bright."""
    (tmp_path / "photos").mkdir()
    for name, grey in (("dark", 40), ("bright", 230)):
        photo = Image.new("RGB", (16, 16), (grey,) * 3)
        photo.paste((255 - grey,) * 3, (2, 2, 7, 7))
        photo.save(tmp_path / "photos" / f"{name}.png")
    return str(tmp_path / "photos")


# ── banks and records ────────────────────────────────────────────────────────────────────────


def test_a_bank_records_the_runtime_and_the_versions_of_its_backend(tmp_path: Path) -> None:
    model = foreign()
    bank = scorecam.ScoreCAM(model, **SPEED).bank(IMAGE)
    bank.save(tmp_path / "bank.safetensors")
    made = scorecam.ScoreBank.load(tmp_path / "bank.safetensors").provenance

    assert (made.runtime, made.precision) == ("tensorrt", "fp8")
    assert made.backend == "tensorrt 10.9"
    assert made.torch == torch.__version__
    assert {(runtime, precision) for runtime, precision, _ in model.used} == {("tensorrt", "fp8")}


def test_the_default_precision_is_the_models_own() -> None:
    made = scorecam.explain(foreign(), IMAGE).provenance

    assert (made.runtime, made.precision) == ("tensorrt", "int8")


def test_a_bank_of_a_network_names_the_version_of_torch() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.AdaptiveAvgPool2d(1))
    model = scorecam.open_model(torch.nn.Sequential(*network, torch.nn.Flatten()))

    assert scorecam.explain(model, IMAGE).provenance.backend == f"torch {torch.__version__}"


def test_an_old_bank_without_a_backend_is_read() -> None:
    made = scorecam.explain(foreign(), IMAGE).provenance
    plain = Record((16, 16), Masking(), "value", LAYER, made).to_dict()
    plain = json.loads(json.dumps(plain))
    for missing in ("backend", "runtime"):
        del plain["provenance"][missing]
    old = Record.from_dict(plain).provenance

    assert (old.backend, old.runtime) == ("", "")


@pytest.mark.parametrize("value", [7, None, ["tensorrt"], "x" * 10_001])
def test_a_bank_with_a_hostile_backend_is_refused(value: object) -> None:
    made = scorecam.explain(foreign(), IMAGE).provenance
    plain = json.loads(json.dumps(Record((16, 16), Masking(), "value", LAYER, made).to_dict()))
    plain["provenance"]["backend"] = value

    with pytest.raises(ValueError, match="backend"):
        Record.from_dict(plain)


# ── names of runtimes and precisions ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"runtime": "tensort"}, ["plan.trt", "'tensorrt'?", "--runtime", "numpy or tensorrt"]),
        ({"runtime": "eager"}, ["auto, numpy or tensorrt"]),
        ({"precision": "int4"}, ["'int8'?", "--precision", "auto, int8 or fp8"]),
    ],
)
def test_an_unknown_name_is_refused_with_those_of_this_model(
    setting: dict[str, Any], words: list[str], photos: str, tmp_path: Path
) -> None:
    model = foreign()
    calls: list[Callable[[], object]] = [
        lambda: scorecam.ScoreCAM(model, **setting),
        lambda: scorecam.explain(model, IMAGE, **setting),
        lambda: scorecam.evaluate(model, photos, out=tmp_path / "run", **setting),
    ]
    if "runtime" in setting:
        calls.append(
            lambda: scorecam.sanity(
                reweighted(), photos, "scorecam", out=tmp_path / "sanity", **setting
            )
        )
    for call in calls:
        with pytest.raises(SettingError) as raised:
            call()
        assert all(word in str(raised.value) for word in words), str(raised.value)
    assert not model.used
    assert not (tmp_path / "run").exists()


def test_a_network_lists_its_own_runtimes() -> None:
    with pytest.raises(SettingError, match="auto, eager, compile or openvino"):
        scorecam.ScoreCAM(torch.nn.Flatten(), runtime="tensorrt")


def test_a_model_without_runtimes_of_its_own_runs_directly() -> None:
    class Plain(Foreign):
        runtimes = scorecam.Model.runtimes
        precisions = scorecam.Model.precisions
        engine = scorecam.Model.engine

    made = scorecam.explain(Plain(WEIGHTS), IMAGE).provenance

    assert (made.runtime, made.precision) == ("direct", "int8")


@pytest.mark.parametrize("value", [None, 3, b"auto", ["auto"], WEIGHTS], ids=repr)
def test_only_names_are_runtimes_and_precisions(value: Any) -> None:
    with pytest.raises(SettingError, match="offers no runtime"):
        scorecam.ScoreCAM(foreign(), runtime=value)
    with pytest.raises(SettingError, match="offers no precision"):
        scorecam.ScoreCAM(foreign(), precision=value)


# ── open_model ───────────────────────────────────────────────────────────────────────────────


def test_an_open_model_is_returned_as_it_is() -> None:
    model = foreign()

    assert scorecam.open_model(model) is model
    assert scorecam.layers(model)[0].name == LAYER


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ({"labels": ["a", "b"]}, "labels= (--labels)"),
        ({"device": "cpu"}, "device= (--device)"),
        ({"masked_input": 0}, "masked_input= (--masked-input)"),
        ({"bands": (1, 2, 3)}, "bands= (--bands)"),
        ({"reshape": lambda output: output}, "reshape="),
        ({"head": "logits"}, "head= (--head)"),
    ],
)
def test_options_with_an_open_model_are_refused(option: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingError, match="is open already") as raised:
        scorecam.open_model(foreign(), **option)
    assert word in str(raised.value)


def test_a_factory_may_return_an_open_model() -> None:
    model = scorecam.open_model("foreign_model:foreign")

    assert model.spec == "plan.trt"
    with pytest.raises(SettingError, match="is open already"):
        scorecam.open_model("foreign_model:foreign", labels=["a", "b"])


# ── readouts ─────────────────────────────────────────────────────────────────────────────────


def test_a_target_function_gets_tensors_by_name() -> None:
    seen: list[Any] = []

    def dark(output: dict[str, Tensor]) -> Tensor:
        seen.append(output)
        return output["scores"][:, 0]

    explanation = scorecam.explain(foreign(), IMAGE, dark)

    assert all(isinstance(output["scores"], Tensor) for output in seen)
    expected = foreign().scores(IMAGE[None])[0, 0]
    assert explanation.target.score == pytest.approx(float(expected))


# ── runs ─────────────────────────────────────────────────────────────────────────────────────


def run(model: scorecam.Model, photos: str, out: Path, methods: str = "scorecam") -> Any:
    return scorecam.evaluate(model, photos, methods, "recognition", out=out, **SPEED)


def test_a_run_is_recorded_verified_and_resumed(photos: str, tmp_path: Path) -> None:
    first = run(foreign(), photos, tmp_path / "run")
    config = json.loads((tmp_path / "run/run.json").read_text("utf-8"))
    found = scorecam.verify(tmp_path / "run")
    item = next((tmp_path / "run/items").rglob("*.json"))
    item.unlink()
    resumed = run(foreign(), photos, tmp_path / "run")

    assert first.done == resumed.done == 2
    assert config["runtime used"] == "tensorrt"
    assert config["precision used"] == "fp8"
    assert config["versions"]["tensorrt"] == "10.9"
    assert config["versions"]["torch"] == torch.__version__
    assert not found.faults
    assert [row.found for row in resumed.rows] == [row.found for row in first.rows]


def test_a_run_with_the_default_precision_records_the_models_own(
    photos: str, tmp_path: Path
) -> None:
    model = foreign()
    scorecam.evaluate(
        model, photos, "scorecam", "recognition", out=tmp_path / "run", runtime="tensorrt"
    )
    config = json.loads((tmp_path / "run/run.json").read_text("utf-8"))

    assert (config["precision"], config["precision used"]) == ("float32", "int8")


def test_a_run_resumes_with_other_versions_of_the_backend(photos: str, tmp_path: Path) -> None:
    class Newer(Foreign):
        def versions(self) -> dict[str, str]:
            return {"tensorrt": "11.0"}

    run(foreign(), photos, tmp_path / "run")

    assert run(Newer(WEIGHTS), photos, tmp_path / "run").done == 2


# ── what a backend lacks ─────────────────────────────────────────────────────────────────────


def test_gradient_methods_are_left_out_of_a_run_with_a_remark(photos: str, tmp_path: Path) -> None:
    remarks: list[str] = []
    summary = scorecam.evaluate(
        foreign(),
        photos,
        "scorecam,gradcam,gradient",
        "recognition",
        out=tmp_path / "run",
        tell=remarks.append,
    )
    sentence = "gradcam, gradient need gradients, and plan.trt gives none: left out."
    config = json.loads((tmp_path / "run/run.json").read_text("utf-8"))

    assert sentence in remarks
    assert sentence in summary.remarks
    assert not summary.failed
    assert config["left out"] == [sentence]
    assert [method["name"] for method in config["methods"]] == ["scorecam"]
    assert json.loads((tmp_path / "run/summary.json").read_text("utf-8"))["config"]["left out"]
    assert "need gradients" in (tmp_path / "run/table.md").read_text("utf-8")
    assert sentence in audit(tmp_path / "run").remarks
    assert not scorecam.verify(tmp_path / "run").faults


def test_a_run_of_gradient_methods_alone_is_refused(photos: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no method is left") as raised:
        run(foreign(), photos, tmp_path / "run", "gradcam,integrated")
    assert "--methods" in str(raised.value)
    assert "rise" in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_the_sanity_check_needs_only_weights(photos: str, tmp_path: Path) -> None:
    result = scorecam.sanity(
        reweighted(), photos, "scorecam,gradcam", out=tmp_path / "sanity", modes=["cascading"]
    )
    document = json.loads((tmp_path / "sanity/sanity.json").read_text("utf-8"))

    assert result.stages == ("weights",)
    assert not result.failures
    assert list(result.verdicts) == ["scorecam"]
    assert result.remarks == ("gradcam needs gradients, and plan.trt gives none: left out.",)
    assert document["remarks"] == list(result.remarks)
    assert "needs gradients" in result.table


def test_the_sanity_check_says_what_a_backend_lacks(photos: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be re-initialised"):
        scorecam.sanity(foreign(), photos, "scorecam", out=tmp_path / "sanity")


def test_the_evidence_needs_only_weights() -> None:
    explanation = scorecam.explain(reweighted(), IMAGE)
    [with_weights] = head_evidence(reweighted(), explanation)
    [without] = head_evidence(foreign(), explanation)

    assert isinstance(with_weights.value, float)
    assert without.value is None
    assert "cannot re-initialise its weights" in without.sentence


def head_evidence(model: scorecam.Model, explanation: scorecam.Explanation) -> list[Any]:
    trust = scorecam.check(model, explanation)
    return [each for each in trust.evidence if each.code == "head"]


def test_a_network_has_weights_and_gradients() -> None:
    model = scorecam.open_model(torch.nn.Flatten())

    assert isinstance(model, WhiteBox)
    assert isinstance(model, Randomisable)
    assert not isinstance(reweighted(), WhiteBox)


# ── the command line ─────────────────────────────────────────────────────────────────────────


def test_explain_leaves_gradient_methods_out_with_a_remark(photos: str, tmp_path: Path) -> None:
    answer = command(
        "explain", f"{photos}/dark.png", "--model", "foreign_model:foreign",
        "--methods", "scorecam,gradcam", "--out", str(tmp_path / "out"),
    )  # fmt: skip

    assert answer.code == 0, answer.err
    assert "gradcam needs gradients, and plan.trt gives none: left out." in answer.err


def test_commands_refuse_an_unknown_runtime_before_the_first_photo(
    photos: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    for arguments in (
        ["explain", f"{photos}/dark.png", "--out", out],
        ["check", f"{photos}/dark.png"],
        ["evaluate", photos, "--out", out],
        ["compare", "foreign_model:foreign", "foreign_model:foreign,runtime=x", photos,
         "--out", out],
    ):  # fmt: skip
        model = ["--model", "foreign_model:foreign", "--runtime", "x"]
        answer = command(*arguments, *([] if arguments[0] == "compare" else model))
        assert answer.code == 2, answer.err
        assert "plan.trt offers no runtime 'x'" in answer.err
        assert not answer.out


def test_a_fingerprint_depends_on_the_weights() -> None:
    other = dataclasses.replace(foreign(), weights=WEIGHTS + 1)

    assert other.fingerprint() != foreign().fingerprint()
