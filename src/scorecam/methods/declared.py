"""Methods of this package: their settings are dataclass fields, declared once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from scorecam.io.ranges import Range
from scorecam.methods.method import Method

Value = int | float | str


def setting(default: Value, limits: Range | None = None) -> Any:
    """A field of a method that users may set, as in `rise:masks=1000`.

    Args:
        default: its value by default. Other values have the same type.
        limits: the range of a number.
    """
    return field(default=default, metadata={"default": default, "limits": limits})


@dataclass(frozen=True)
class DeclaredMethod(Method):
    """A method that users name, with the settings that are its fields.

    Args:
        name: as users write it; `kind` by default.

    Attributes:
        kind: the name without settings.
        fixed: further values that the map depends on, for the record.
    """

    kind: ClassVar[str]
    fixed: ClassVar[Mapping[str, object]] = {}

    name: str = ""
    settings: Mapping[str, object] = field(init=False, default_factory=dict[str, object])

    def __post_init__(self) -> None:
        self._set("name", self.name or self.kind)
        self.check()
        self._set("settings", self.recorded())

    @classmethod
    def defaults(cls) -> dict[str, Value]:
        """The settings that users may write, and their defaults."""
        return {
            entry.name: entry.metadata["default"]
            for entry in fields(cls)
            if "default" in entry.metadata
        }

    def check(self) -> None:
        """Refuse settings out of their ranges.

        Raises:
            SettingError: there is one.
        """
        for entry in fields(self):
            limits = entry.metadata.get("limits")
            if limits is not None:
                limits.check(f"{self.name}: {entry.name}", getattr(self, entry.name))

    def recorded(self) -> dict[str, object]:
        """Everything that the map depends on, as plain values."""
        return {name: getattr(self, name) for name in self.defaults()} | dict(self.fixed)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
