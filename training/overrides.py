"""Settings given beside a recipe, `SECTION.SETTING=VALUE`, and how they take the place of those in the file.

A value is written as in TOML, so that 5, true and ["pitch"] keep their types; what is no TOML is text, because a shell
has eaten its quotes. Whether such a setting exists and takes such a value is the recipe's business.
"""

import json
import tomllib
from collections.abc import Sequence
from typing import Any

from storage_schema.errors import InputError

Document = dict[str, Any]


def override(document: Document, settings: Sequence[str]) -> Document:
    """`document` with `settings` in it, each `SECTION.SETTING=VALUE`; a later one wins.

    Raises InputError where one is not written so, or goes below a setting that is no section.
    """
    for setting in settings:
        document = _merged(document, _parse(setting), setting)
    return document


def _parse(setting: str) -> Document:
    name, equals, value = (part.strip() for part in setting.partition("="))
    for text in (value, json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")):
        try:
            parsed = tomllib.loads(f"{name} = {text}")
        except (tomllib.TOMLDecodeError, RecursionError):
            continue
        if name and equals:
            return parsed
    raise InputError(f"--set {setting}: write SECTION.SETTING=VALUE, such as fit.epochs=5")


def _merged(document: Document, changes: Document, setting: str) -> Document:
    merged = dict(document)
    for name, value in changes.items():
        if not isinstance(value, dict):
            merged[name] = value
            continue
        below = merged.get(name, {})
        if not isinstance(below, dict):
            raise InputError(f"--set {setting}: {name} is {below!r} in the recipe, which has no settings below it")
        merged[name] = _merged(below, value, setting)
    return merged
