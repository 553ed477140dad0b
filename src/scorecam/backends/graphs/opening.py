"""What opening a file with a graph has in common for all formats."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scorecam.backends.graphs.arrays import integer_remark
from scorecam.backends.graphs.ending import Ending, ending
from scorecam.backends.graphs.graph import Graph, GraphValue
from scorecam.backends.graphs.model import GraphModel
from scorecam.backends.graphs.program import Program
from scorecam.backends.inputs.batches import batch_remark
from scorecam.backends.inputs.call import Call
from scorecam.backends.inputs.derived import check_derived
from scorecam.backends.inputs.structure import Key, Slot
from scorecam.backends.opener import Options
from scorecam.backends.tracing.layer_maps import Given, check_layout
from scorecam.base.wording import quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.images.preprocess import Preprocess
from scorecam.images.preprocessing import Preprocessing
from scorecam.images.transform import Transform
from scorecam.model.columns import check_head
from scorecam.model.labels import read_labels
from scorecam.model.readout import readout_for


def names_file(given: Any, prefix: str, suffixes: Sequence[str]) -> bool:
    """Whether a user's value names a file of a format, by suffix or a prefix such as `onnx:`."""
    if not isinstance(given, str | os.PathLike):
        return False
    text = os.fspath(given)
    if not isinstance(text, str):
        return False
    return text.startswith(f"{prefix}:") or text.lower().endswith(tuple(suffixes))


def path_in(given: str | os.PathLike[str], prefix: str) -> Path:
    """The path, without the prefix."""
    return Path(os.fspath(given).removeprefix(f"{prefix}:"))


def graph_model(
    program: Program, spec: str, options: Options, *, file: Path, metadata: Mapping[str, str]
) -> GraphModel:
    """The model of a graph, with the user's options.

    Args:
        program: the graph in its runtime.
        spec: its name in records.
        file: that it was read from.
        metadata: the texts in it.

    Raises:
        SettingError, ModelError: an option does not fit.
    """
    graph = program.graph
    if options.weights is not None:
        raise SettingError(
            f"{quoted(spec)} holds its own weights, and weights= (--weights) was given.",
            do="Leave it out.",
        )
    masked = _masked(graph, options.masked_input)
    derived: dict[Key, Any] = {
        _input_named(graph, key).name: function
        for key, function in check_derived(options.derived).items()
    }
    structure = {name: Slot(name) for name in (masked.name, *derived)}
    end = _ending(graph, options)
    preprocess, labels = options.preprocess, options.labels
    remarks = [_ending_remark(end)] if end else []
    if masked.dtype.kind in "iu":
        remarks.append(integer_remark(masked))
    if masked.shape and masked.shape[0] is not None:
        remarks.append(batch_remark(masked.shape[0], "file"))
    return GraphModel(
        program,
        spec=spec,
        call=Call(masked.name, "by name", structure=structure, derived=derived),
        preprocess=None if preprocess is None else _preprocess(preprocess),
        reading=options.reading,
        names=None if labels is None else read_labels(labels),
        head=end.head if end else check_head(options.head),
        readout=readout_for(options.output),
        reads={end.output: end.scores} if end else {},
        remarks=tuple(remarks),
        masked_input=None if options.masked_input is None else masked.name,
        given=Given(check_layout(options.layout), options.reshape),
    )


def _preprocess(value: Any) -> Preprocessing:
    if isinstance(value, Preprocessing):
        return value
    return Transform(value) if callable(value) else Preprocess.load(value)


def _masked(graph: Graph, named: Key | None) -> GraphValue:
    """The input that is masked; the first that can be images if the user names none."""
    if named is not None:
        return _input_named(graph, named)
    likely = [value for value in graph.inputs if value.shape is None or len(value.shape) >= 3]
    return (likely or list(graph.inputs))[0]


def _input_named(graph: Graph, named: Key) -> GraphValue:
    names = [value.name for value in graph.inputs]
    place = names.index(named) if named in names else named
    if isinstance(place, int) and 0 <= place < len(names):
        return graph.inputs[place]
    raise SettingError(
        f"The network has no input {quoted(named)}.",
        likely=did_you_mean(str(named), names),
        do=f"It takes {', '.join(map(quoted, names))}.",
    )


def _ending(graph: Graph, options: Options) -> Ending | None:
    """The ending of the output that is read, if it says what the scores are."""
    if options.head != "auto" or callable(options.output):
        return None
    chosen = [
        value
        for i, value in enumerate(graph.outputs)
        if options.output in (None, i, value.name) and value.shape and len(value.shape) == 2
    ]
    return ending(graph, chosen[0]) if len(chosen) == 1 else None


def _ending_remark(end: Ending) -> str:
    return (
        f"The network ends in a {end.kind}: the scores are the numbers before it, so that nothing "
        "has to be guessed about them."
    )
