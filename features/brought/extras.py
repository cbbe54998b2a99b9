"""Libraries that only some streams need: whether they are there, and what to say where one is not."""

from importlib.util import find_spec

from storage_schema.errors import InputError


def require_extra(extra: str, library: str) -> None:
    """Raise InputError where `library`, which the extra `extra` brings, is not installed; imports nothing."""
    if find_spec(library) is None:
        raise InputError(
            f"this needs {library}, which is not installed; install it with pip install 'timbrel[{extra}]'"
        )
