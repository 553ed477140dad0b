"""What opening a file with a graph has in common for all formats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scorecam.backends.deployed.found import Found, find_settings
from scorecam.backends.graphs.arrays import check_numbers, integer_remark
from scorecam.backends.graphs.ending import Ending, ending
from scorecam.backends.graphs.graph import Graph, GraphValue
from scorecam.backends.graphs.model import GraphModel
from scorecam.backends.graphs.program import Program
from scorecam.backends.inputs.batches import batch_remark
from scorecam.backends.inputs.call import Call
from scorecam.backends.inputs.derived import check_derived
from scorecam.backends.inputs.structure import Key, Slot
from scorecam.backends.opener import Options, preprocessing_of
from scorecam.backends.tracing.layer_maps import Given, check_layout
from scorecam.base.wording import quoted
from scorecam.errors import ModelError, SettingError, did_you_mean
from scorecam.model.columns import check_head
from scorecam.model.labels import read_labels
from scorecam.model.output_index import split_index
from scorecam.model.readout import Readout, find_scores


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
    masked, certain = _masked(graph, options.masked_input)
    check_numbers(masked)
    found = _found(file, metadata, masked, options)
    derived: dict[Key, Any] = {
        _input_named(graph, key).name: function
        for key, function in check_derived(options.derived).items()
    }
    structure = {name: Slot(name) for name in (masked.name, *derived)}
    end = _ending(graph, options)
    preprocess, labels = options.preprocess, options.labels
    readout, returns = _reading(graph, options.output)
    check_answers(graph, returns[0] if returns else None)
    names, unfit = _fitting_names(found.names, graph, options)
    remarks = [*found.remarks, *unfit, *([_ending_remark(end)] if end else [])]
    if masked.dtype.kind in "iu":
        remarks.append(integer_remark(masked))
    if masked.shape and masked.shape[0] is not None:
        remarks.append(batch_remark(masked.shape[0], "file"))
    return GraphModel(
        program,
        spec=spec,
        call=Call(masked.name, "by name", structure=structure, derived=derived),
        preprocess=found.preprocess if preprocess is None else preprocessing_of(preprocess),
        reading=options.reading,
        names=names if labels is None else read_labels(labels),
        head=end.head if end else check_head(options.head),
        readout=readout,
        returns=returns,
        reads={end.output: end.scores} if end else {},
        remarks=tuple(remarks),
        masked_input=masked.name if certain else None,
        class_names=found.names if unfit else None,
        given=Given(check_layout(options.layout), options.reshape),
    )


def _found(file: Path, metadata: Mapping[str, str], masked: GraphValue, options: Options) -> Found:
    """What the file and its folder say about photos and classes, where the user says nothing."""
    return find_settings(
        file,
        metadata,
        size=_size(masked),
        colours=_colours(masked),
        preprocess=options.preprocess is None,
        names=options.labels is None,
    )


def _size(masked: GraphValue) -> tuple[int, int] | None:
    """The (height, width) that the network takes; None if it takes several, or no photos."""
    if masked.shape is None or len(masked.shape) != 4:
        return None
    height, width = masked.shape[1:3] if _last(masked) else masked.shape[2:]
    return None if height is None or width is None else (height, width)


def _colours(masked: GraphValue) -> int | None:
    """The number of colours that the network takes; None if it is not known."""
    if masked.shape is None or len(masked.shape) != 4:
        return None
    return masked.shape[3 if _last(masked) else 1]


def _last(masked: GraphValue) -> bool:
    """Whether a photo's colours are the last axis."""
    return masked.shape is not None and masked.shape[-1] in (1, 3) and masked.shape[1] not in (1, 3)


def _masked(graph: Graph, named: Key | None) -> tuple[GraphValue, bool]:
    """The input that is masked, and whether the user or the graph leaves no other choice."""
    if named is not None:
        return _input_named(graph, named), True
    first = graph.outputs[0].shape if graph.outputs else None
    batches = {None, 1, first[0] if first else 1}  # the state of a recurrent network has others
    rows = [
        value
        for value in graph.inputs
        if value.shape is None or (len(value.shape) > 1 and value.shape[0] in batches)
    ]
    likely = [value for value in rows if value.shape is None or len(value.shape) > 2] or rows
    return (likely or list(graph.inputs))[0], len(likely) == 1


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


def _fitting_names(
    names: tuple[str, ...] | None, graph: Graph, options: Options
) -> tuple[tuple[str, ...] | None, list[str]]:
    """The class names that were found, if they fit the scores, and a remark if they do not."""
    output = _matrix(graph, options)
    columns = output.shape[1] if output and output.shape else None
    if names is None or columns == len(names):
        return names, []
    why = f"the output has {columns} columns"
    if columns is None:
        why = "it is not known which ones they name (labels= or --labels takes them)"
    remark = f"{len(names)} class names were found. They do not name the scores: {why}."
    return None, [f"{remark} A task, such as detect, uses them."]


def _reading(graph: Graph, output: int | str | Readout | None) -> tuple[Readout, tuple[str, ...]]:
    """How the scores are read, and the names of the outputs that are needed; empty for all.

    Raises:
        SettingError: there is no such tensor.
    """
    if output is None or callable(output):
        return output or find_scores, ()
    names = [value.name for value in graph.outputs]
    if isinstance(output, int) or output in names or graph.tensor_of(output) is not None:
        return find_scores, (_chosen_output(graph, output),)
    name, index = split_index(output)
    if name == "" and len(names) == 1:
        name = names[0]
    return index or find_scores, (_chosen_output(graph, name),)


def _chosen_output(graph: Graph, output: int | str) -> str:
    """The tensor that the user names as the output, which may be any.

    Raises:
        SettingError: there is no such tensor.
    """
    names = [value.name for value in graph.outputs]
    if isinstance(output, int):
        if 0 <= output < len(names):
            return names[output]
    elif output in names:
        return output
    elif (inside := graph.tensor_of(output)) is not None:
        return inside
    raise SettingError(
        f"The network has no output {quoted(output)}: output= (--output).",
        likely=did_you_mean(str(output), [*names, *graph.labels.values()]),
        do=f"Its outputs are {', '.join(map(quoted, names))}; the name of any other tensor, which "
        "`scorecam layers` shows, works too.",
    )


def check_answers(graph: Graph, chosen: str | None) -> None:
    """Refuse an output that is the same for every image.

    Args:
        graph: the network.
        chosen: the output that the user names; None if none is named.

    Raises:
        ModelError: it is, or all outputs are.
    """
    names = [value.name for value in graph.outputs if value.name not in graph.answers]
    if (names and not graph.answers) if chosen is None else chosen in names:
        constant = ", ".join(map(quoted, names if chosen is None else [chosen]))
        raise ModelError(
            f"The network's output {constant} does not depend on any input.",
            likely="The export turned the result of one pass into a constant.",
            do="Export the network again, or name another output: output= (--output).",
        )


def _matrix(graph: Graph, options: Options) -> GraphValue | None:
    """The output that is read, if it is known to be `b n`."""
    if callable(options.output):
        return None
    names = graph.answers if options.output is None else ()
    chosen = [
        value
        for i, value in enumerate(graph.outputs)
        if (value.name in names or options.output in (i, value.name))
        and value.shape
        and len(value.shape) == 2
    ]
    return chosen[0] if len(chosen) == 1 else None


def _ending(graph: Graph, options: Options) -> Ending | None:
    """The ending of the output that is read, if it says what the scores are."""
    output = _matrix(graph, options) if options.head == "auto" else None
    return None if output is None else ending(graph, output)


def _ending_remark(end: Ending) -> str:
    return (
        f"The network ends in a {end.kind}: the scores are the numbers before it, so that nothing "
        "has to be guessed about them."
    )
