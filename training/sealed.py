"""JSON documents of ours that say when they were edited: each holds the hash of the rest of itself.

It guards against a slip of the hand or of a disk, not against somebody who computes the hash anew; who must be safe
from such a person keeps the hash elsewhere.
"""

import hashlib
import json
from typing import Any

SEAL = "seal_blake2b"


def blake2b(content: bytes) -> str:
    """The 128-bit hash that our documents name files by."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def sealed(document: dict[str, Any]) -> bytes:
    """`document`, a JSON object, as text with its seal."""
    return json.dumps(document | {SEAL: _seal_of(document)}, indent=2, ensure_ascii=False).encode()


def unsealed(content: bytes) -> dict[str, Any]:
    """The document without its seal. Raises ValueError, a clause of a sentence, where it is not as it was written."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")
    seal = document.pop(SEAL, None)
    found = _seal_of(document)
    if seal is None:
        raise ValueError("it has no hash of itself: an older timbrel wrote it, or it was changed")
    if seal != found:
        raise ValueError(f"it was changed after it was written: its hash is {found}, it says {str(seal)[:64]}")
    return document


def _seal_of(document: dict[str, Any]) -> str:
    return blake2b(json.dumps(document, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass"))
