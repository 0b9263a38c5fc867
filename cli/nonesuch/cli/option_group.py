"""Options that several commands share: each group reaches its command as one value."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any

Command = Callable[..., None]
Option = Callable[[Command], Command]


def option_group(argument: str, read: Callable[..., object], *options: Option) -> Option:
    """A decorator that adds the options to a command, which gets their value as one keyword argument.

    Args:
        argument: the name of that keyword argument.
        read: makes the value from the options' values, which it takes by their names.
        options: click options, in the order of --help.
    """
    names = list(signature(read).parameters)

    def decorate(command: Command) -> Command:
        @wraps(command)  # also shares the list in which click collects the options of the command
        def call(**given: Any) -> None:
            value = read(**{name: given.pop(name) for name in names})
            command(**{argument: value}, **given)

        decorated: Command = call
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate
