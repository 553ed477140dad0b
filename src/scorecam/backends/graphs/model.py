"""Models that are graphs of named tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from torch import Tensor

from scorecam.backends.graphs import randomise, tracing
from scorecam.backends.graphs.arrays import as_array, as_tensor, blank_inputs, takes, unfit
from scorecam.backends.graphs.graph import GraphValue
from scorecam.backends.graphs.program import Program
from scorecam.backends.inputs.batches import full_batches
from scorecam.backends.inputs.belonging import calls_for
from scorecam.backends.inputs.call import Call, masked_images, masked_key, may_belong, one_by_one
from scorecam.backends.inputs.structure import Key, Slot
from scorecam.backends.stages import check_stages
from scorecam.backends.tracing import layers
from scorecam.backends.tracing.forms import Form, channels_last, form_of
from scorecam.backends.tracing.layer_maps import Given, maps_in
from scorecam.backends.tracing.trace import Place, Trace
from scorecam.base.wording import quoted
from scorecam.cam import Head
from scorecam.errors import LayerError, ModelError, ScorecamError, SettingError, did_you_mean
from scorecam.images.preprocessing import Preprocessing
from scorecam.images.reading import AS_STATED, Reading
from scorecam.model.engine import Engine, Probe, Speed
from scorecam.model.model import Inputs, Layer, Model, Randomisable, Task
from scorecam.model.readout import Readout, find_scores, read
from scorecam.model.readout import name_of as readout_name
from scorecam.model.task_columns import TaskColumns, default_grid
from scorecam.shapes import BatchedActivations, BatchedScores, Images

ALONE = (
    "The network accepts batches, but its output mixes the images of a batch, so images run one by "
    "one."
)
"""The remark about such a graph."""

BATCH = 8
"""Masked images per pass: more are no faster."""

TRACES = 16
"""Records that are kept, one per shape of the inputs and readout."""


@dataclass(eq=False)
class GraphCache:
    """Facts about a graph, shared by models of the same graph and by threads.

    Attributes:
        traces: the last records of passes.
        alone: the graph accepts any batch, but answers for a single image.
    """

    traces: dict[object, Trace] = field(default_factory=dict[object, Trace])
    alone: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class GraphModel(Randomisable):
    """A graph in a runtime.

    Args:
        program: the graph and its runtime.
        spec: its name in records.
        call: which input is masked, and what the others are.
        preprocess: how a photo becomes its input, where known.
        reading: how files of numbers are read.
        names: one per column of the readout, where known.
        head: the kind of the scores, or "auto".
        readout: output → `b` or `b n`. The output is a tensor, or a dict of tensors by name if
            the graph has several outputs.
        returns: names of the outputs that the readout gets; empty for all that need an input.
        reads: for each output, the tensor that is read in its place.
        remarks: decisions made when it was opened that the user should know.
        masked_input: which of several inputs is masked; None to detect it.
        given: how the explained layer holds maps, if the user said so.
        cache: facts about the graph, for later calls.
        class_names, task, task_columns: see `Model`.
    """

    program: Program
    spec: str
    call: Call
    preprocess: Preprocessing | None = None
    reading: Reading = AS_STATED
    names: tuple[str, ...] | None = None
    head: Head | Literal["auto"] = "auto"
    readout: Readout = find_scores
    returns: tuple[str, ...] = ()
    reads: Mapping[str, str] = field(default_factory=dict[str, str])
    remarks: tuple[str, ...] = ()
    masked_input: Key | None = None
    given: Given = field(default_factory=lambda: Given(None, None))
    cache: GraphCache = field(default_factory=GraphCache, repr=False)
    task: Task | None = None
    task_columns: TaskColumns | None = None
    class_names: tuple[str, ...] | None = None

    # ── facts ────────────────────────────────────────────────────────────────────────────────────

    @property
    def _masked(self) -> GraphValue:
        return next(each for each in self.program.graph.inputs if each.name == self.call.masked)

    @property
    def axes(self) -> int:
        if self.call.form is not None:
            return len(self.call.form.image_axes)
        shape = self._masked.shape
        return 2 if shape is None else min(max(len(shape) - 2, 1), 3)

    @property
    def device(self) -> torch.device:
        """Where the images are: runtimes of graphs take them from the processor's memory."""
        return torch.device("cpu")

    @property
    def precision(self) -> str:
        return self.program.precision

    @property
    def runtimes(self) -> tuple[str, ...]:
        return (self.program.runtime,)

    def versions(self) -> Mapping[str, str]:
        return self.program.versions

    @property
    def precisions(self) -> tuple[str, ...]:
        return self.program.precisions

    def fingerprint(self) -> str:
        return self.program.fingerprint()

    # ── layers ───────────────────────────────────────────────────────────────────────────────────

    def blank(self) -> Inputs | None:
        inputs = [each for each in self.program.graph.inputs if each.name not in self.call.derived]
        found = blank_inputs(inputs, self.call.masked)
        return next(iter(found.values())) if found and len(found) == 1 else found

    def layers(self, images: Images) -> list[Layer]:
        return layers.candidates(self._trace(images))

    def find_layer(self, layer: object, images: Images) -> str:
        if layer is None:
            return self._default_layer(images)
        if not isinstance(layer, str):
            raise LayerError(
                f"layer={quoted(layer)} is not the name of a tensor.",
                do="scorecam.layers lists the names.",
            )
        return self.place(layer, images).label

    def _default_layer(self, images: Images) -> str:
        try:
            return layers.default_layer(self._trace(images), default_grid(self.task_columns))
        except LayerError:
            self.scores(images[:1])  # if they cannot be read, that is the fault to report
            raise

    def layer_remark(self, layer: str, images: Images) -> str:
        remark = self.place(layer, images).remark
        return f"{remark} {ALONE}".strip() if self.cache.alone else remark

    def place(self, layer: str, images: Images) -> Place:
        """Where the maps of a layer are.

        Raises:
            LayerError: there is no such tensor, or it does not depend on the image.
        """
        trace, graph = self._trace(images), self.program.graph
        tensor = graph.tensor_of(layer)
        place = layers.place_of(trace, graph.labels.get(tensor or "", ""))
        if place is not None:
            return place
        if tensor is not None:
            raise LayerError(
                f"The tensor {quoted(layer)} cannot be explained.",
                likely="It is the image itself, does not depend on it, or holds no real numbers.",
                do="`scorecam layers` (or scorecam.layers) lists the layers that can be explained.",
            )
        raise LayerError(
            f"The model has no layer called {quoted(layer)}.",
            likely=did_you_mean(layer, [step.name for step in trace.steps]),
            do="`scorecam layers` (or scorecam.layers) lists the layers that can be explained.",
        )

    def _trace(self, images: Images) -> Trace:
        """The record for images of this size, without running if it is known already."""
        key = tracing.key_of(self.call, self.readout, images)
        trace = self.cache.traces.get(key)
        if trace is None:
            trace = tracing.traced(self, images)
            traces = {**self.cache.traces, key: trace}
            self.cache.traces = dict(list(traces.items())[-TRACES:])
        return trace

    # ── passes ───────────────────────────────────────────────────────────────────────────────────

    def activations(self, images: Images, layer: str) -> tuple[BatchedActivations, BatchedScores]:
        place = self.place(layer, images)
        tensor = self.program.graph.tensor_of(place.label) or ""
        maps: list[BatchedActivations] = []
        scores: list[BatchedScores] = []
        for batch, count in full_batches(images, self.batch):
            output, [found] = self.outputs(batch, [tensor])
            scores.append(read(output, self.readout, len(batch))[:count])
            read_maps = maps_in([[found]], batch, layer, place=place, given=self.given)
            maps.append(read_maps[:count])
        return torch.cat(maps), torch.cat(scores)

    def scores(self, images: Images) -> BatchedScores:
        batches = list(full_batches(images, self.batch))
        wanted = tuple(dict.fromkeys(self.read_tensors))
        runs = self.program.run_each((self.inputs(batch) for batch, _ in batches), wanted)
        parts: list[BatchedScores] = []
        for (batch, count), found in zip(batches, runs, strict=True):
            tensors = dict(zip(wanted, map(as_tensor, found), strict=True))
            parts.append(read(self.output_of(tensors), self.readout, len(batch))[:count])
        return torch.cat(parts)

    @property
    def batch(self) -> int | None:
        """The only number of images that it takes at a time; None for any number."""
        shape = self._masked.shape
        return 1 if self.cache.alone else shape[0] if shape else None

    def run_alone(self) -> None:
        """From now on, run images one by one."""
        self.cache.alone = True

    def outputs(self, images: Images, more: Sequence[str] = ()) -> tuple[Any, list[Tensor]]:
        """The output of one pass, and more tensors of the graph.

        Args:
            images: as many as a pass takes.
            more: names of tensors.
        """
        wanted = dict.fromkeys([*self.read_tensors, *more])
        found = self.program.run(self.inputs(images), tuple(wanted))
        tensors = dict(zip(wanted, map(as_tensor, found), strict=True))
        return self.output_of(tensors), [tensors[name] for name in more]

    @property
    def read_tensors(self) -> list[str]:
        """The tensors that are read as outputs."""
        return [self.reads.get(name, name) for name in self._returned]

    @property
    def _returned(self) -> tuple[str, ...]:
        return self.returns or self.program.graph.answers

    def output_of(self, tensors: Mapping[str, Tensor]) -> Any:
        """The output that a readout gets: a tensor, or a dict of several by name."""
        output = {name: tensors[self.reads.get(name, name)] for name in self._returned}
        return output if len(output) > 1 else next(iter(output.values()))

    def inputs(self, images: Images) -> dict[str, np.ndarray[Any, Any]]:
        """All inputs of a pass, by name.

        Raises:
            SettingError: one is missing.
            ModelError: one has a shape that the network does not take.
        """
        given = cast("dict[str, Any]", self.fitting(images).inputs(images))
        values = {value.name: value for value in self.program.graph.inputs}
        if missing := [name for name in values if name not in given]:
            raise SettingError(
                f"The network takes {len(values)} inputs, and {', '.join(map(quoted, missing))} "
                "is missing.",
                do=f"Pass all of them by name, {', '.join(map(quoted, values))}, each with a batch "
                "axis: in Python as a dict, on the command line as a file of arrays (.npz).",
            )
        arrays = {name: as_array(given[name], value) for name, value in values.items()}
        for name, value in values.items():
            if not takes(value, arrays[name].shape):
                raise unfit(value, arrays[name].shape)
        return arrays

    def fitting(self, images: Images) -> Call:
        """How the network is called with images `b c *i` of which only the shape is known."""
        last = images.movedim(1, -1)
        if self.call.form is None and not self._takes(images) and self._takes(last):
            return replace(self.call, form=channels_last(images.shape))
        return self.call

    def _takes(self, inputs: Tensor) -> bool:
        """Whether the masked input may have this shape, apart from the batch."""
        return takes(self._masked, inputs.shape)

    def engine(self, speed: Speed, probe: Probe) -> Engine:  # noqa: ARG002
        program = self.program
        if speed.precision in program.precisions:
            program = program.at(speed.precision)
        model = replace(self, program=program)
        return Engine(model.scores, program.runtime, program.precision, BATCH, mask_threads=1)

    # ── sanity ───────────────────────────────────────────────────────────────────────────────────

    def stages(self, images: Images) -> list[str]:  # noqa: ARG002
        return randomise.stages(self.program)

    def randomised(self, stages: Sequence[str], images: Images, seed: int) -> Self:
        check_stages(stages, self.stages(images))
        program = randomise.randomised(self.program, stages, seed)
        spec = f"{self.spec}, randomised"
        return replace(self, program=program, spec=spec, cache=GraphCache())

    # ── inputs and readouts ──────────────────────────────────────────────────────────────────────

    def with_readout(self, readout: Readout) -> GraphModel:
        model = replace(self, readout=readout, returns=(), reads={}, task=None, task_columns=None)
        return replace(model, names=(readout_name(readout),), head="value")

    def with_columns(self, columns: TaskColumns) -> Self:
        return replace(super().with_columns(columns), returns=self.returns)

    @property
    def given_output(self) -> Readout | None:
        return None if self.readout is find_scores else self.readout

    def output(self, images: Images) -> Any:
        [batch, *_] = full_batches(images, self.batch)
        return replace(self, reads={}).outputs(batch[0])[0]  # of the tensor that the user chose

    def fitted(self, x: Tensor, *, single: bool, run: bool) -> tuple[Images, Model]:  # noqa: ARG002
        attempts = [x] if x.ndim > 1 else []
        if single:
            attempts.insert(0, x[None])
        failure: ScorecamError | None = None
        for inputs in attempts:
            if not self._takes(inputs):
                continue
            try:
                trace = self._trace(inputs)
                form = form_of(trace)
            except ModelError as error:
                failure = failure or error
                continue
            if form is not None:
                return form.images(inputs), self if form.usual else self.with_form(form)
            tracing.check_followed(self.program.graph, trace)
        for inputs in attempts:
            if inputs.ndim > 2 and self._takes(inputs.movedim(1, -1)):
                return inputs, self.with_form(channels_last(inputs.shape))
        if failure is not None:
            raise failure
        if attempts and not any(map(self._takes, attempts)):
            raise unfit(self._masked, attempts[0].shape)
        return (x[None] if single and x.ndim == self.axes + 1 else x), self

    @property
    def form(self) -> Form | Call | None:
        return self.call.form if self.call.alone else self.call

    def with_form(self, form: object) -> Self:
        if isinstance(form, Call):
            return replace(self, call=form)
        return replace(self, call=replace(self.call, form=form)) if isinstance(form, Form) else self

    def split_inputs(self, inputs: Inputs) -> tuple[Images, list[Model]]:
        images, others, plain = self._split(inputs)
        own = [key for key, value in others.items() if may_belong(value, len(images))]
        calls = one_by_one(plain, images, own, others)
        return images, [replace(self, call=call) for call in calls]

    def _split(self, inputs: Inputs) -> tuple[Images, dict[Key, Any], Call]:
        names = [value.name for value in self.program.graph.inputs]
        given: dict[Key, Any] = {}
        by_name = isinstance(inputs, Mapping)
        given.update(inputs if by_name else zip(names, inputs, strict=False))
        advice = f"It takes {', '.join(map(quoted, names))}."
        if not by_name and len(inputs) > len(names):
            raise SettingError(f"{len(inputs)} inputs were given.", do=advice)
        for name in given:
            if name not in names:
                likely = did_you_mean(str(name), names)
                raise SettingError(
                    f"The network has no input {quoted(name)}.", likely=likely, do=advice
                )
        others = dict(given)
        key = masked_key(others, self.masked_input, self.axes)
        images = masked_images(others.pop(key), key, self.axes)
        derived = self.call.derived
        structure = {name: Slot(name) for name in (*given, *derived)}
        plain = Call(key, "by name", structure=structure, derived=derived)
        return images, {name: value for name, value in others.items() if name not in derived}, plain

    def confirmed(self, inputs: Inputs, models: Sequence[Model]) -> Sequence[Model]:  # noqa: ARG002
        images, others, plain = self._split(inputs)
        calls = calls_for(images, others, plain, lambda call, x: replace(self, call=call).scores(x))
        return [replace(self, call=call) for call in calls]
