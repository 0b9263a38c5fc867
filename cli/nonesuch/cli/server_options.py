"""The command line of `serve`: a flag for every setting, generated from the settings.

A flag that is not given leaves its setting to the environment, the file and the default, in this order.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from nonesuch.server.settings import ModelSettings, ServerSettings, load_settings

_F = TypeVar("_F", bound=Callable[..., Any])
_TABLES = {"models", "keys", "tls"}
_OF_MODELS = [name for name in ModelSettings.model_fields if name not in {"model", "name", "load"}]
_SHORT = {"max_batch_size": "--batch"}
_DEFAULT_MODEL = "faces"


def server_options(function: _F) -> _F:
    """Add the flags to a command, which gets all of them as keyword arguments: None for a flag that is not given."""
    options = [
        click.option(
            "--config", type=click.Path(dir_okay=False, path_type=Path), help="TOML file; see docs/serving.md."
        ),
        click.option(
            "--model", "models", multiple=True,
            help=f"A model's name, or an artifact's folder; can be given again.  [default: {_DEFAULT_MODEL}]",
        ),
        *(_flag(name, ModelSettings.model_fields[name]) for name in _OF_MODELS),
        *(_flag(name, field) for name, field in ServerSettings.model_fields.items() if name not in _TABLES),
        click.option("--tls-certificate", help="Certificate chain of the gRPC port, PEM."),
        click.option("--tls-private-key", help="The key of that certificate, PEM."),
        click.option("--tls-client-ca", help="CA, PEM; clients must show a certificate that it signed."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def chosen_settings(flags: Mapping[str, Any]) -> ServerSettings:
    """The settings from the flags, the environment, the file and the defaults, in this order.

    Raises:
        InvalidRequestError: the file cannot be read, or a value is not valid.
    """
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    overrides = {name: given[name] for name in ServerSettings.model_fields if name in given and name not in _TABLES}
    tls = {name: given[f"tls_{name}"] for name in ("certificate", "private_key", "client_ca") if f"tls_{name}" in given}
    if tls:
        overrides["tls"] = tls
    if "models" in given:
        overrides["models"] = [{"model": model} for model in given["models"]]
    settings = load_settings(given.get("config"), overrides)
    of_models = {name: given[name] for name in _OF_MODELS if name in given}
    models = settings.models or (ModelSettings.model_validate({"model": _DEFAULT_MODEL}),)
    overrides["models"] = [{**model.model_dump(exclude_unset=True), **of_models} for model in models]
    return load_settings(given.get("config"), overrides)


def _flag(name: str, field: FieldInfo) -> Callable[[_F], _F]:
    kind = _plain(field.annotation)
    flag = f"--{name.replace('_', '-')}"
    names = [name, *([_SHORT[name]] if name in _SHORT else []), flag]
    text = f"{(field.description or '')[:1].upper()}{(field.description or '')[1:]}."
    if field.default is not None and kind is not bool:
        text += (
            f"  [default: {field.default:g}]" if isinstance(field.default, float) else f"  [default: {field.default}]"
        )
    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
    if get_origin(kind) is Literal:
        return click.option(*names, type=click.Choice(list(get_args(kind))), help=text)
    return click.option(*names, type=kind, help=text)


def _plain(annotation: Any) -> Any:
    """The type without `None`."""
    while get_origin(annotation) in {Union, types.UnionType}:
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return annotation
