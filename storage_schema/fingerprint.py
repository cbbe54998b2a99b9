"""Canonical JSON, and the hash of it that names what a stream's numbers depend on.

Two specs that mean the same must hash the same on every machine and in every version, and a value that could be
written in two ways is refused, not guessed: the fingerprint is the key of work that takes days.
Source of the form: RFC 8785 (JSON Canonicalization Scheme), restricted to what Python writes identically.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import TypeAlias

from storage_schema.errors import InputError

Json: TypeAlias = bool | int | float | str | list["Json"] | tuple["Json", ...] | Mapping[str, "Json"] | None

FINGERPRINT_BYTES = 16
"""128 bits: no collision to be expected below 10^18 specs."""

_LARGEST_EXACT_INTEGER = 2**53


def canonical_json(value: Json) -> str:
    """One text for one value: keys sorted, no spaces, UTF-8, tuples as lists.

    A float that is a whole number is written as the integer, so that 400 and 400.0 are one parameter.
    Raises InputError for NaN, infinity, integers beyond 2**53, keys that are no text, and any other type.
    """
    return json.dumps(_normalised(value, "value"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fingerprint(value: Json) -> str:
    """The BLAKE2b hash of `canonical_json(value)`, as 32 hexadecimal digits."""
    return hashlib.blake2b(canonical_json(value).encode(), digest_size=FINGERPRINT_BYTES).hexdigest()


def _normalised(value: object, where: str) -> Json:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if abs(value) > _LARGEST_EXACT_INTEGER:
            raise InputError(f"{where} is {value}, beyond the integers that JSON keeps exactly; write it as text")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{where} is {value}, which has no canonical JSON form; use a finite number")
        if value.is_integer():
            return _normalised(int(value), where)
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InputError(f"{where} has the key {key!r}, but a key must be text")
        return {key: _normalised(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normalised(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise InputError(f"{where} is a {type(value).__name__}, which has no canonical JSON form")
