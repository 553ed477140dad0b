"""The interface between the method and the backends that run models.

A `Model` gives activations and scores. Higher packages do not know which library runs it.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, cast

import torch
from torch import Tensor, nn

from scorecam.base.wording import constructor, excerpt, summary
from scorecam.cam import Head
from scorecam.images.preprocessing import Preprocessing
from scorecam.images.reading import AS_STATED, Reading, ReadInput
from scorecam.model.engine import Engine, Probe, Speed
from scorecam.model.place import Place
from scorecam.model.readout import Readout
from scorecam.model.task_columns import TaskColumns
from scorecam.model.text_tower import TextTower
from scorecam.shapes import BatchedActivations, BatchedScores, Images

if TYPE_CHECKING:
    from scorecam.images.input_files import Source

Inputs = Images | Mapping[str, Tensor] | Sequence[Tensor]
"""The input of a model: images, or several inputs by name or in order, one of them the images."""

TargetSpec = int | str | Place | Readout | None
"""What users can explain: a column, its name, a place in the picture if the model has a task that
knows places, their own readout, or None for the prediction.
"""


@dataclass(frozen=True)
class Layer:
    """A layer whose output can be explained.

    Args:
        name: as in `module.named_modules()`; with `#` and the number of the call for a module that
            runs several times.
        grid: its spatial axes, one number each.
        channels: k.
        layout: "channels first" (`b k *g`), "channels last" (`b *g k`), "tokens" (`b n k`), "tokens
            and 1 others" if some of them, such as a class token, have no place in the image and
            are left out, or "other".
        default: whether it is the default layer.
        why: why it is, or is not, the default.
        on_path: whether the scores depend on it.
    """

    name: str
    grid: tuple[int, ...]
    channels: int
    layout: str
    default: bool
    why: str
    on_path: bool = True

    __repr__ = constructor


class Model(ABC):
    """Gives the activations of a layer, and scores images.

    Each call leaves the network unchanged, even after an error. Backends raise `MemoryShortage`
    if a batch does not fit, so that the caller can retry with a smaller one, and `ModelError` for
    any other failure.

    Images, activations and scores are tensors of torch, whatever runs the model. So is what a
    readout receives: the output of the network, or a dict of its outputs by name.

    Attributes:
        spec: the model's name, for the records.
        preprocess: how a photo becomes the input, if known.
        reading: how files of numbers are read.
        names: one name per column of the readout, if known.
        class_names: names in the model's file that are not those of columns, such as the classes of
            a detector; tasks use them.
        head: the kind of the scores, or "auto" to detect it.
        remarks: sentences on decisions that the user should know about.
        task: what is explained, if not the classes: then the columns differ from image to image.
        task_columns: the columns that the task found for one image; see `for_image`.
    """

    spec: str
    preprocess: Preprocessing | None
    names: tuple[str, ...] | None
    class_names: tuple[str, ...] | None = None
    head: Head | Literal["auto"]
    remarks: tuple[str, ...]
    reading: Reading = AS_STATED
    task: Task | None = None
    task_columns: TaskColumns | None = None

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.spec)
        if self.names is not None:
            yield f"{len(self.names)} columns"
        if self.preprocess is not None:
            yield f"input {'×'.join(map(str, self.preprocess.size))}"
        yield f"head {self.head}"

    @property
    @abstractmethod
    def axes(self) -> int:
        """The number of image axes: 1 for signals, 2 for photos, 3 for volumes."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """The device of the images. The model may run elsewhere, and copy them."""

    @property
    @abstractmethod
    def precision(self) -> str:
        """The number format that it computes in, such as "float32"."""

    @property
    def runtimes(self) -> tuple[str, ...]:
        """What can score masked images, by name. The first is the model itself.

        "auto", which chooses one, is always accepted and not listed.
        """
        return ("direct",)

    @property
    def precisions(self) -> tuple[str, ...]:
        """The number formats in which masked images can be scored, by name.

        "auto" is always accepted and not listed. So is the default, "float32": it stands for the
        model's own format if that is another one.
        """
        return (self.precision,)

    def versions(self) -> Mapping[str, str]:
        """The versions of the libraries that run the model, by name, for the records."""
        return {}

    def read(self, source: Source) -> ReadInput:
        """The model's input from a photo or a file of numbers, on the CPU.

        Numbers stored without colours are those of one colour.

        Raises:
            PhotoError, SettingError, MissingExtra: see `images.input_files.read_input`.
        """
        from scorecam.images.input_files import read_input  # not before a file is read

        found = read_input(source, self.preprocess, self.reading)
        if found.image.ndim == self.axes:
            return replace(found, image=found.image[None])
        return found

    def fingerprint(self) -> str:
        """SHA-256 of the weights; empty if they are not accessible."""
        return ""

    def blank(self) -> Inputs | None:
        """Inputs of zeros in the only shape that the model takes; None if it takes several."""
        return None

    @abstractmethod
    def layers(self, images: Images) -> list[Layer]:
        """The layers that can be explained for images of this size, in the order they run."""

    @abstractmethod
    def find_layer(self, layer: object, images: Images) -> str:
        """The name of a layer, which is given by name, as a module, or None for the default."""

    def layer_remark(self, layer: str, images: Images) -> str:  # noqa: ARG002
        """What the user should know about a layer; empty if nothing. The model does not run."""
        return ""

    @abstractmethod
    def activations(self, images: Images, layer: str) -> tuple[BatchedActivations, BatchedScores]:
        """One pass: the layer's maps (`b k *g`, copied) and the scores (`b n`), both float32."""

    @abstractmethod
    def scores(self, images: Images) -> BatchedScores:
        """One pass: the scores, `b n` float32."""

    def engine(self, speed: Speed, probe: Probe) -> Engine:  # noqa: ARG002
        """The engine for this runtime and precision. By default, the model itself."""
        return Engine(self.scores, self.runtimes[0], self.precision)

    def last_step(self, images: Images) -> tuple[BatchedScores, str]:
        """One pass: the scores, and the last step: "softmax" (over the columns) or "sigmoid".

        The step is empty if it is another one, or is not known.
        """
        return self.scores(images), ""

    def output(self, images: Images) -> Any:
        """One pass of one image: the model's whole output, as a readout receives it.

        Networks that take batches of one size return as many rows; the first is the image's.
        """
        outputs: list[Any] = []

        def keep(output: Any) -> Tensor:
            outputs.append(output)
            return torch.zeros(len(images), 1)

        self.with_readout(keep).scores(images)
        return outputs[0]

    @property
    def given_output(self) -> Readout | None:
        """What the user reads of the whole output, `output=` of `open_model`; None if not given."""
        return None

    def text_tower(self) -> TextTower | None:
        """What embeds texts in the space of the images; None if the model has no such part."""
        return None

    def with_task(self, task: Task | None) -> Self:
        """The same model with a task, which decides what is explained."""
        return _changed(self, task=task, task_columns=None)

    def for_image(self, images: Images, target: TargetSpec = None) -> Model:
        """The model with the columns that its task finds for one image.

        Without a task, or if it has these columns, it is the model itself.

        Args:
            images: `1 c *i`.
            target: what the user wants to explain; a place is in pixels of the input.

        Raises:
            TargetError: the task finds nothing to explain in the output.
        """
        if self.task is None or self.task_columns is not None or callable(target):
            return self
        return self.with_columns(self.task.columns(self, images, target))

    def with_columns(self, columns: TaskColumns) -> Self:
        """The same model with the columns of a task."""
        model = _changed(
            self.with_readout(columns.readout),
            task=self.task,
            task_columns=columns,
            names=columns.names,
            head=columns.head,
        )
        return cast("Self", model)

    @abstractmethod
    def with_readout(self, readout: Readout) -> Model:
        """The same model with another readout, whose scores are values. It has no task.

        Args:
            readout: receives what the network returns as tensors of torch: one tensor, or several
                in a dict by name. PyTorch networks pass their output as it is.
        """

    def fitted(self, x: Tensor, *, single: bool, run: bool) -> tuple[Images, Model]:  # noqa: ARG002
        """The images in a tensor, `b c *i`, and the model that takes images in this form.

        Args:
            x: one input of the network, as the user has it.
            single: whether it is one image, which may lack the batch axis.
            run: whether the model may run to find out. Without it, it runs only if the tensor does
                not have the usual number of axes.
        """
        return (x[None] if single and x.ndim == self.axes + 1 else x), self

    @property
    def form(self) -> object:
        """How it takes images, as found by `fitted`, with its other inputs; None if as `b c *i`."""
        return None

    def with_form(self, form: object) -> Self:  # noqa: ARG002
        """The same model, for images `b c *i` of inputs that had this form."""
        return self

    @abstractmethod
    def split_inputs(self, inputs: Inputs) -> tuple[Images, list[Model]]:
        """The images in several inputs, and for each image a model with its other inputs fixed.

        The images are as the user has them: `fitted` follows. Inputs with one row per image are
        split among the images. The model does not run.
        """

    def confirmed(self, inputs: Inputs, models: Sequence[Model]) -> Sequence[Model]:  # noqa: ARG002
        """The models of `split_inputs`, after checking which inputs belong to which image.

        Raises:
            SettingError: it stays unclear.
        """
        return models


_M = TypeVar("_M", bound=Model)


def _changed(model: _M, **attributes: object) -> _M:
    """A shallow copy with other attributes; models are frozen for everybody else."""
    changed = copy.copy(model)
    for name, value in attributes.items():
        object.__setattr__(changed, name, value)
    return changed


class Task(ABC):
    """What is explained: which numbers of a model's output become columns, and what they mean.

    A task is a frozen dataclass, whose fields are its options. To add one, see docs/extending.md.

    Attributes:
        name: as users write it.
        adds_inputs: whether `prepared` adds inputs, which may differ from image to image.
    """

    name: ClassVar[str]
    adds_inputs: ClassVar[bool] = False

    def prepared(self, model: Model, inputs: Inputs) -> tuple[Model, Inputs]:
        """The model and its inputs as this task needs them, before the model runs.

        A task of a model that reads more than a picture adds the other inputs here. The model has
        a readout for them, and may have another task.

        Args:
            inputs: as the user has them, of one image.

        Raises:
            SettingError, TargetError: see `columns`.
        """
        return model, inputs

    @abstractmethod
    def columns(self, model: Model, images: Images, target: TargetSpec) -> TaskColumns:
        """The columns for one image, from a pass of the model.

        Args:
            model: its `names` are those of its classes; `output` runs it.
            images: `1 c *i`.
            target: what the user wants to explain: a name or an index of a column, a place in
                pixels of the input, or None.

        Raises:
            TargetError: there is nothing to explain, or no such target.
            SettingError: the output does not fit the task, or an option of the task is missing.
        """


class Randomisable(Model):
    """A model with weights that can be re-initialised, as the sanity check does."""

    @abstractmethod
    def stages(self, images: Images) -> list[str]:
        """Its parts with weights, by name, from the output to the input.

        A part is a block of a sequence at most two names deep (`layer4.1`, `blocks.15`), or else a
        part of the network itself.
        """

    @abstractmethod
    def randomised(self, stages: Sequence[str], images: Images, seed: int) -> Self:
        """A copy with these stages re-initialised, each layer by its own initialiser.

        Raises:
            ModelError: the network cannot be copied, or a layer has no initialiser.
        """


class WhiteBox(Randomisable):
    """A model that also gives gradients, which gradient methods need."""

    @abstractmethod
    def differentiable(self) -> AbstractContextManager[nn.Module]:
        """The model as a module with autograd: images, `b c *i`, to the readout, `b n` float32.

        Its submodule `network` is in evaluation mode, and its parameters have no gradient. Hooks
        and other changes are undone afterwards.

        Raises:
            ModelError: it fails inside the block.
        """

    @abstractmethod
    def hooked(
        self, images: Images, layer: str
    ) -> tuple[str, Callable[[Tensor], BatchedActivations]]:
        """The module of a layer, by its name in `network`, and the maps in what it returns.

        Raises:
            LayerError: it has no grid, runs several times, or returns several tensors.
        """
