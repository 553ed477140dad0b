"""What a backend contributes to `scorecam doctor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Optional(NamedTuple):
    """An optional library.

    Args:
        module: its import name.
        purpose: what needs it.
        install: the command that installs it.
    """

    module: str
    purpose: str
    install: str


@dataclass(frozen=True)
class Diagnosis:
    """A backend on this machine. Nothing here may raise if a library is missing.

    Args:
        versions: of its libraries that are installed, by name, without scorecam's own dependencies.
        devices: that it can use.
        optional: libraries that add models or runtimes, whether installed or not.
        advice: lines on its runtimes and precisions, and what "auto" chooses.
    """

    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    devices: Sequence[str] = ()
    optional: Sequence[Optional] = ()
    advice: Sequence[str] = ()
