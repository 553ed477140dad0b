"""Every setting of Score-CAM, declared once: its default, its help and the words it accepts.

Public functions take the settings as keywords, build one `Settings` and hand it down whole. The
command line derives its options from `OPTIONS`, and so does the method `scorecam` for names such
as `scorecam:variant=algorithm1`. To add a setting, add it to `OPTIONS` and to `Settings`, and read
it where it acts.

Importing this module imports neither torch nor NumPy: `scorecam --help` must not wait for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from scorecam.base.wording import constructor, quoted
from scorecam.errors import SettingError

if TYPE_CHECKING:
    from scorecam.budget.plan import BudgetSpec, Plan
    from scorecam.cam import Masking, Variant
    from scorecam.model.batches import BatchSize
    from scorecam.model.engine import Speed
    from scorecam.model.variants import Auto

Kind = Literal["word", "word or count", "whole number", "number", "fill"]
"""What users write for a setting. A fill is a number, or one per colour, separated by commas."""


def _no_words() -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Option:
    """A setting as the command line and the names of methods show it.

    Args:
        name: the field of `Settings`, and the keyword of the public functions.
        default: the value if the user gives none, as the user would write it.
        sentence: the help text, without the accepted words.
        kind: what users write.
        words: returns the words that it accepts. It may import torch, so it is called only when
            they are needed.
        per_method: whether the method `scorecam` takes it in its name.
        flag_name: the option's name on the command line, if not the setting's.
    """

    name: str
    default: Any
    sentence: str
    kind: Kind
    words: Callable[[], Sequence[str]] = _no_words
    per_method: bool = False
    flag_name: str = ""

    @property
    def flag(self) -> str:
        """The option of the command line."""
        return f"--{self.flag_name or self.name.replace('_', '-')}"

    @property
    def help(self) -> str:
        """The help sentence, with the words that it accepts."""
        words = self.words()
        if not words:
            return self.sentence
        several = ", ".join(words[:-1])
        known = f"{several} or {words[-1]}" if several else words[-1]
        return f"{self.sentence[:-1]}: {known}."

    @property
    def type(self) -> type:
        """The type of the value on the command line; `read` turns it into the setting."""
        if self.kind == "whole number":
            return int
        return float if self.kind == "number" else str

    def read(self, value: Any) -> Any:
        """The setting for a value from the command line; `Settings` refuses invalid ones."""
        if self.kind == "fill" and isinstance(value, str):
            return _masking(value)
        if self.kind != "word or count" or not isinstance(value, str):
            return value
        from scorecam.io.ranges import parse_whole

        number = parse_whole(value)
        return value if number is None else number


def _masking(fill: str) -> Masking:
    """The default masking with another fill."""
    from scorecam.cam import Masking
    from scorecam.io.ranges import parse_reals

    numbers = parse_reals(fill)
    if numbers is None:
        raise SettingError(
            f"--fill {quoted(fill)} is not a number, nor numbers separated by commas.",
            do="Give one number, or one per colour, such as --fill 0,0,0.",
        )
    return Masking(fill=numbers[0] if len(numbers) == 1 else numbers)


def _variants() -> Sequence[str]:
    from scorecam.cam import VARIANTS

    return ("auto", *VARIANTS)


OPTIONS: dict[str, Option] = {
    option.name: option
    for option in (
        Option(
            "variant",
            "auto",
            "How scores become weights.",
            "word",
            words=_variants,
            per_method=True,
        ),
        Option(
            "budget",
            "exact",
            "How many masks to score: exact for all, fast for about 50, or a number.",
            "word or count",
        ),
        Option(
            "tolerance",
            None,
            "Stop when the estimated error of the scaled map is below this (0 to 1). Replaces the "
            "budget.",
            "number",
        ),
        Option(
            "precision",
            "float32",
            "Number format for masked images, or auto: see `scorecam doctor`.",
            "word",
        ),
        Option(
            "runtime",
            "auto",
            "Runtime that scores masked images, or auto: see `scorecam doctor`.",
            "word",
        ),
        Option(
            "masking",
            None,
            "Value of hidden pixels, in the model's own units: a number, or one per colour.",
            "fill",
            flag_name="fill",
        ),
        Option("batch_size", "auto", "Masked images per pass: a number or auto.", "word or count"),
        Option("seed", 0, "Random seed.", "whole number"),
    )
}
"""Every setting by name."""


@dataclass(frozen=True)
class Settings:
    """How Score-CAM computes a map. `explain` says what each setting means.

    Values are checked when a `Settings` is made, but the runtime and the precision, which depend on
    the model: `check_offered` checks them.
    """

    variant: Variant | Auto = OPTIONS["variant"].default
    budget: BudgetSpec = OPTIONS["budget"].default
    tolerance: float | None = OPTIONS["tolerance"].default
    precision: str = OPTIONS["precision"].default
    runtime: str = OPTIONS["runtime"].default
    masking: Masking = OPTIONS["masking"].default
    batch_size: BatchSize = OPTIONS["batch_size"].default
    seed: int = OPTIONS["seed"].default

    __repr__ = constructor

    def __post_init__(self) -> None:
        from scorecam.budget.plan import plan
        from scorecam.cam import Masking
        from scorecam.io.ranges import FOLDED_SEED
        from scorecam.model.batches import check_batch_size
        from scorecam.model.variants import check_variant

        masking: Any = self.masking
        if masking is None:  # the default: a `Masking` would import torch
            masking = Masking()
        if not isinstance(masking, Masking):
            raise SettingError(
                f"masking={quoted(masking)} is not a Masking.",
                do="For example masking=scorecam.Masking(fill=0.5).",
            )
        self._set("masking", masking)
        self._set("variant", check_variant(self.variant))
        plan(self.budget, self.tolerance)
        self._set("batch_size", check_batch_size(self.batch_size))
        FOLDED_SEED.check("seed", self.seed)
        self._set("seed", int(self.seed))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def plan(self) -> Plan | None:
        """When to stop scoring masks; None to score them all."""
        from scorecam.budget.plan import plan

        return plan(self.budget, self.tolerance)

    @property
    def exact(self) -> bool:
        """Whether every mask is scored, so that one bank serves all variants."""
        return self.plan is None

    @property
    def budget_text(self) -> str:
        """The budget or tolerance as results record it."""
        from scorecam.budget.plan import described

        return described(self.budget, self.tolerance)

    @property
    def speed(self) -> Speed:
        """The runtime and the precision."""
        from scorecam.model.engine import Speed

        return Speed(self.runtime, self.precision)
