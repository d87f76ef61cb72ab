"""Configurations from text: a saved file, and ``section.key=value`` settings on a command line."""

import json
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from dcvae.config.section import REMEDY
from dcvae.config.whole import SECTIONS, Config
from dcvae.errors import UserError, did_you_mean

SETTINGS: dict[str, FieldInfo] = {
    f"{section}.{name}": field
    for section, fields in SECTIONS.items()
    for name, field in fields.model_fields.items()
}
"""Every setting by its name ``section.key``."""
REMEDIES = {name for name, field in SETTINGS.items() if REMEDY in field.metadata}
"""Settings that may be changed to resume a run that a NaN has broken."""


def parse_config(content: object) -> Config:
    """Validate ``content`` (a mapping, as saved in config.json). Raises UserError."""
    try:
        return Config.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise UserError(_one_sentence(error)) from None


def apply_settings(config: Config, settings: Iterable[str]) -> Config:
    """Return ``config`` with ``section.key=value`` settings applied; values are JSON or text.

    Raises UserError for a setting that is not ``key=value``, an unknown key or a bad value.
    """
    content: dict[str, Any] = config.model_dump(mode="json")
    for setting in settings:
        key, separator, text = setting.partition("=")
        key = key.strip()
        if not separator or not key:
            raise UserError(f"the setting {setting!r} is not of the form key=value")
        if key not in SETTINGS:
            raise UserError(
                f"there is no setting {key!r}{did_you_mean(key, SETTINGS)}; "
                "docs/settings.md has all of them"
            )
        section, _, name = key.partition(".")
        content[section][name] = _value(SETTINGS[key], text)
    return parse_config(content)


def _value(field: FieldInfo, text: str) -> object:
    """``text`` parsed as JSON if it is JSON, else as it is; a text setting takes it literally."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return None if text.lower() == "none" else text
    takes_text = str in (field.annotation, *get_args(field.annotation))
    return value if not takes_text or value is None or isinstance(value, str) else text


def _one_sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"there is no setting {where!r}"
    if first["type"] == "missing":
        return f"the configuration lacks {where!r}"
    named = f"{where}={first['input']!r}"
    if first["type"] == "value_error":
        message = str(first["ctx"]["error"])  # a rule over several settings names them itself
        return message if isinstance(first["input"], dict) else f"{named} {message}"
    return f"{named} is not possible: {first['msg'][0].lower()}{first['msg'][1:]}"
