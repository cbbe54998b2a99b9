"""What is on disk, and nothing else: time base, stream specs, fingerprints, parts, catalogue, snapshots.

`open_store` is the door for Python; it is imported late, so that the words (errors, specs) cost no start-up.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage_schema.store import Store as Store
    from storage_schema.store import open_store as open_store

__all__ = ["Store", "open_store"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from storage_schema import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
