"""The parameters that flows share, typed and described so that Prefect's own form asks for them well."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, get_type_hints

from pydantic import Field

from features.registry import DEFAULT_STREAMS

StoreUri = Annotated[str, Field(min_length=1, description="The store: a folder, or s3://bucket/prefix.")]
Root = Annotated[str, Field(min_length=1, description="Where the recordings lie: a folder or s3://bucket/prefix.")]
Kind = Annotated[
    Literal["folder", "csv", "esc50", "fsd50k", "urbansound8k", "general_midi"],
    Field(description="How the recordings are laid out, and where their labels come from."),
]
DatasetName = Annotated[str | None, Field(description="File the clips under this name; by default the folder's.")]
RecipeFile = Annotated[str | None, Field(description="A TOML file that says what to train; without it nothing is.")]
RunId = Annotated[str, Field(min_length=1, description="A finished training run, as `timbrel status` lists it.")]
Streams = Annotated[list[str], Field(min_length=1, description="The streams to extract.")]
StreamParameters = Annotated[
    dict[str, dict[str, Any]], Field(description='Parameters by stream, such as {"pitch": {"model": "full"}}.')
]
Workers = Annotated[int | None, Field(ge=1, description="Worker processes on this machine; by default one a core.")]
Scheduler = Annotated[str | None, Field(description="Use this running Dask cluster, such as tcp://10.0.0.1:8786.")]
SettingsFile = Annotated[str | None, Field(description="A TOML file whose [cluster] describes a Dask cluster.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], Field(description="Where models are fitted.")]

FOUR_STREAMS = list(DEFAULT_STREAMS)

_P = ParamSpec("_P")
_T = TypeVar("_T")


def described(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """`function` with its parameters' descriptions in its docstring, the only place where Prefect's form reads them."""
    lines = []
    for name, hint in get_type_hints(function, include_extras=True).items():
        for note in getattr(hint, "__metadata__", ()):
            lines.append(f"    {name}: {note.description}")
    function.__doc__ = f"{function.__doc__}\n\nArgs:\n" + "\n".join(lines)
    return function
