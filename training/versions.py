"""Which libraries made a figure."""

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

VERSIONS_OF = ("timbrel", "torch", "lightning-fabric", "numpy", "scikit-learn", "safetensors")


def library_versions() -> dict[str, str]:
    """The versions of what decides the numbers, by name."""
    found = {"python": platform.python_version()}
    for package in VERSIONS_OF:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
