"""Parameters of a command that stand for several options.

A parameter that is a dataclass of options, such as `ModelOptions`, stands for its fields, which may
be such dataclasses too. One that is annotated with `SettingOptions` stands for settings of
Score-CAM.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

import typer

from scorecam.cli.known import SETTING_WORDS, any_of
from scorecam.settings import OPTIONS, Option


@dataclass(frozen=True)
class SettingOptions:
    """Stands for options of a command: settings of Score-CAM, from the list in `scorecam.settings`.

    A command has `settings: Annotated[SettingValues, SettingOptions(...)]` and receives the values
    by name, as the library's functions take them.

    Args:
        only: names of the settings; all of them if empty.
        without: settings to leave out.
        defaults: those that differ from the library's, by name.
        flags: those that differ from the usual ones, by name.
    """

    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    flags: Mapping[str, str] = field(default_factory=dict[str, str])

    def parameters(self) -> list[inspect.Parameter]:
        """One parameter per setting, for typer."""
        return [self._parameter(setting) for setting in self._settings()]

    def take(self, given: dict[str, Any]) -> dict[str, Any]:
        """Remove the settings from the values of all options; returns them."""
        return {setting.name: setting.read(given.pop(setting.name)) for setting in self._settings()}

    def _settings(self) -> list[Option]:
        return [
            setting
            for setting in OPTIONS.values()
            if setting.name not in self.without and (not self.only or setting.name in self.only)
        ]

    def _parameter(self, setting: Option) -> inspect.Parameter:
        text = setting.sentence
        if words := SETTING_WORDS.get(setting.name):
            text = f"{text.removesuffix('.')}: {any_of(words)}."
        flag = self.flags.get(setting.name, setting.flag)
        default = self.defaults.get(setting.name, setting.default)
        kind: Any = setting.type if setting.default is not None else setting.type | None
        return inspect.Parameter(
            setting.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, typer.Option(flag, help=text)],
        )


SettingValues = dict[str, Any]


@dataclass(frozen=True)
class _OptionGroup:
    """A dataclass of options, as a parameter of a command."""

    kind: type[Any]

    def parameters(self) -> list[inspect.Parameter]:
        return _expanded(inspect.signature(self.kind, eval_str=True))

    def take(self, given: dict[str, Any]) -> Any:
        fields = inspect.signature(self.kind, eval_str=True).parameters
        return self.kind(
            **{
                name: inner.take(given) if (inner := _group(field.annotation)) else given.pop(name)
                for name, field in fields.items()
            }
        )


def with_option_groups(command: Callable[..., int]) -> Callable[..., int]:
    """Replace each parameter that stands for several options by those options.

    On the command line, `def explain(*, source: ModelOptions)` has the options --model, --weights
    and so on, in place of `source`; the command receives them as one object.
    """
    annotations = typing.get_type_hints(command, include_extras=True)
    groups = {name: group for name, kind in annotations.items() if (group := _group(kind))}
    parameters = _expanded(inspect.signature(command, eval_str=True))

    @functools.wraps(command)
    def run(**given: Any) -> int:
        values = {name: group.take(given) for name, group in groups.items()}
        return command(**given, **values)

    keyword_only = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in parameters]
    run.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in keyword_only}
    return run


def _expanded(signature: inspect.Signature) -> list[inspect.Parameter]:
    """The parameters, with the options in place of each group of options."""
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        group = _group(parameter.annotation)
        parameters += [parameter] if group is None else group.parameters()
    return parameters


def _group(kind: Any) -> _OptionGroup | SettingOptions | None:
    """The options that a parameter of this type stands for; None for a single option."""
    if dataclasses.is_dataclass(kind):
        return _OptionGroup(cast("type[Any]", kind))
    metadata = getattr(kind, "__metadata__", ())
    return next((entry for entry in metadata if isinstance(entry, SettingOptions)), None)
