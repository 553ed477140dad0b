"""The task similar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from scorecam.base.wording import constructor
from scorecam.cam import Head
from scorecam.errors import SettingError
from scorecam.io.arguments import flag, function, instance
from scorecam.io.ranges import Real
from scorecam.model.columns import two_names, two_sided
from scorecam.model.model import Model, TargetSpec, Task
from scorecam.model.readout import Readout
from scorecam.model.target import find_target
from scorecam.model.task_columns import TaskColumns
from scorecam.model.text_tower import Tokenizer
from scorecam.shapes import Images
from scorecam.tasks.similar.embedding import SAY_WHICH, Cosines, Embedding, checked
from scorecam.tasks.similar.references import References, check_length, direction_of, groups_of
from scorecam.tasks.similar.texts import Texts, check_texts, labels_of

SCALE = Real(0, 1e6)
"""The temperatures of CLIP are about 100."""


@dataclass(frozen=True, eq=False)
class Similar(Task):
    """How close the embedding of an image is to references, or to texts.

    The reference is not masked. The columns are the references, with the cosine as the score; or
    the texts, with the model's own logits, so that they have probabilities. Without a target, the
    closest is explained.

    Args:
        reference: a photo (a path, a PIL image or an array), a preprocessed tensor `c *i`, or an
            embedding `d`; several in a list, or by name in a dict. A list within the dict is one
            column, the mean of its directions.
        text: texts for a model with a text tower (CLIP, SigLIP); or their embeddings by text.
        names: one per reference; None for the names of their files.
        average: whether the references of a list are one column, the mean of their directions.
        embedding: where the embedding is in the model's output: an index, a name, perhaps with what
            to take of it (`last_hidden_state[:, 0, :]`), or a function of the output; None to find
            it.
        tokenizer: texts → token ids; None for the one in the model's folder.
        scale: what the cosine to a text is multiplied with before the softmax; None for the
            model's own.
    """

    name: ClassVar[str] = "similar"

    reference: References | None = None
    text: Texts | None = None
    names: Sequence[str] | None = None
    average: bool = False
    embedding: int | str | Readout | None = None
    tokenizer: Tokenizer | None = None
    scale: float | None = None

    __repr__ = constructor

    def __post_init__(self) -> None:
        if (self.reference is None) == (self.text is None):
            both = "both were given" if self.text is not None else "neither was given"
            raise SettingError(
                f"The task similar takes a reference or a text, and {both}.",
                do="Give reference= (--reference) or text= (--text).",
            )
        if self.text is not None:
            object.__setattr__(self, "text", check_texts(self.text))
            if self.names is not None or flag("average", self.average):
                raise SettingError(
                    "names= and average= belong to references, and a text was given.",
                    do="Leave them out: texts are their own names.",
                )
        else:
            groups_of(self.reference, self.names, average=flag("average", self.average))
        place = self.embedding
        if place is not None and not callable(place):
            instance("embedding", place, (int, str), SAY_WHICH)
        function("tokenizer", self.tokenizer, "a list of texts")
        if self.scale is not None:
            SCALE.check("scale", self.scale)

    def columns(self, model: Model, images: Images, target: TargetSpec) -> TaskColumns:
        embedding = embedding_in(model, self.embedding)
        output = model.output(images)
        own = checked(embedding(output)[:1].detach().cpu(), "the image")
        remarks, passes = [embedding.remark(output)], 1
        head: Head = "value"
        if self.text is not None:
            labels = labels_of(self.text, model, self.tokenizer, scale=self.scale)
            names, head = tuple(self.text), labels.head
            readout = Cosines(embedding, labels.directions, labels.scale, labels.bias)
            remarks.append(labels.remark)
        else:
            groups = groups_of(self.reference, self.names, average=self.average)
            found = [direction_of(group, model, embedding) for group in groups]
            for direction, count in found:
                check_length(direction, own)
                passes += count
            names = tuple(group.name for group in groups)
            readout = Cosines(embedding, torch.cat([direction for direction, _ in found]))
        check_length(readout.directions, own)
        return TaskColumns(
            readout,
            names,
            head=head,
            column=_column(target, readout(output)[0], names, head),
            task=self.name,
            remarks=tuple(remark for remark in remarks if remark),
            passes=passes,
        )


def embedding_in(model: Model, place: int | str | Any | None) -> Embedding:
    """How the embedding is read: the task's option, or else what the model was opened with.

    Args:
        place: the option; a number may be a text, as on the command line.
    """
    if isinstance(place, str) and place.isdecimal():
        place = int(place)
    return Embedding(model.given_output if place is None else place, model.axes)


def _column(target: TargetSpec, scores: Tensor, names: tuple[str, ...], head: Head) -> int:
    """The column that a target means; the closest without one."""
    both = two_sided(scores[None].detach().cpu(), head)[0]
    if target is None and len(scores) == 1:
        return len(both) - 1
    return find_target(target, both, two_names(names, len(scores), head), "value").index  # type: ignore[arg-type]
