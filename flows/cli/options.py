"""The options that several commands share, and how their values are read."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from features.registry import DEFAULT_STREAMS, spec_for
from storage_schema.errors import InputError
from storage_schema.fingerprint import Json
from storage_schema.streams import StreamSpec

if TYPE_CHECKING:
    from pipeline.cluster_settings import ClusterSettings
    from storage_schema.store import Store

StoreOption = Annotated[
    str,
    typer.Option(
        "--store", "-s", envvar="TIMBREL_STORE", help="The store: a folder, or s3://bucket/prefix.", show_envvar=True
    ),
]
StreamsOption = Annotated[str, typer.Option("--streams", help="Streams, separated by commas.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A stream's parameter, such as pitch.model=full; may be repeated.", metavar="S.P=VALUE"),
]
RecipeSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="A setting in place of the recipe's, such as fit.epochs=5; may be repeated.", metavar="S.K=VALUE"
    ),
]
RunSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A stream's parameter, such as pitch.model=full, or a setting of the recipe, such as fit.epochs=5; may be "
        "repeated.",
        metavar="S.K=VALUE",
    ),
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, help="Short for --set fit.seed=N.", show_default="the recipe's")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Worker processes.", show_default="one a core")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option("--scheduler", help="Use a running Dask cluster, such as tcp://10.0.0.1:8786.", show_default="none"),
]
SettingsOption = Annotated[
    str | None,
    typer.Option(
        "--settings",
        envvar="TIMBREL_SETTINGS",
        metavar="FILE",
        help="A TOML file whose [cluster] describes a Dask cluster; see docs/scale.md.",
        show_default="this machine",
    ),
]
LogJsonOption = Annotated[
    bool, typer.Option("--log-json", help="Tell progress as one JSON object a line on standard error.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a script instead of a table.")]
RootArgument = Annotated[
    str, typer.Argument(help="Where the recordings lie: a folder or s3://bucket/prefix (csv: the CSV or its folder).")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="What features may take in memory, such as 8GB; more of them are read part by part.",
        show_default="half of what is free",
    ),
]
ResumeOption = Annotated[
    bool,
    typer.Option("--resume", help="Go on with the run of this recipe that was interrupted last, on its own snapshot."),
]
TimeLimitOption = Annotated[
    float | None,
    typer.Option(
        "--time-limit",
        min=0.1,
        help="Seconds that a clip may take for each second of its audio, beside 30 s, before it counts as hung.",
        show_default="10",
    ),
]
RetryOption = Annotated[bool, typer.Option("--retry-failed", help="Try clips again that failed before.")]
SnapshotOption = Annotated[
    str | None, typer.Option("--snapshot", help="Read this state of the store.", show_default="the newest")
]

RunSnapshotOption = Annotated[
    str | None, typer.Option("--snapshot", help="Judge on this state of the store.", show_default="the run's own")
]

ALL_DEFAULT_STREAMS = ",".join(DEFAULT_STREAMS)

Parameters = dict[str, dict[str, Json]]


def parse_streams(text: str) -> list[str]:
    """The names in `a,b,c`; whether they exist is the registry's business."""
    streams = [name.strip() for name in text.split(",") if name.strip()]
    if not streams:
        raise InputError("--streams names no stream; write them as pitch,timbre")
    return list(dict.fromkeys(streams))


def parse_parameters(settings: Sequence[str] | None, streams: Sequence[str]) -> Parameters:
    """`["pitch.hop=160"]` as `{"pitch": {"hop": 160}}`; a value is JSON, or text where it is no JSON."""
    parameters: Parameters = {}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        stream, dot, parameter = name.strip().partition(".")
        if not (equals and dot and parameter):
            raise InputError(f"--set {setting}: write STREAM.PARAMETER=VALUE, such as pitch.model=full")
        if stream not in streams:
            raise InputError(f"--set {setting}: {stream} is not among the streams {', '.join(streams)}")
        try:
            parameters.setdefault(stream, {})[parameter] = json.loads(value)
        except (ValueError, RecursionError):
            parameters.setdefault(stream, {})[parameter] = value
    return parameters


def parse_specs(streams: str, settings: Sequence[str] | None) -> list[StreamSpec]:
    """The specs that --streams and --set ask for."""
    names = parse_streams(streams)
    parameters = parse_parameters(settings, names)
    return [spec_for(name, parameters.get(name)) for name in names]


def parse_cluster(scheduler: str | None, settings: str | None) -> "ClusterSettings":
    """The cluster that --scheduler and --settings name, by default this machine."""
    from pipeline.cluster_settings import HERE

    if scheduler is None and settings is None:
        return HERE
    from flows.settings import cluster_settings

    return cluster_settings(scheduler, settings)


def recipe_settings(settings: Sequence[str] | None, seed: int | None) -> list[str]:
    """What --set and --seed put in place of a recipe's settings, as `training.recipe.load_recipe` takes it."""
    return [*(settings or ()), *([] if seed is None else [f"fit.seed={seed}"])]


def open_store_of(store_uri: str, run: str) -> "Store":
    """The store, which has the finished run `run`. Raises InputError naming the newest runs where it is unknown."""
    from storage_schema.store import open_store

    store = open_store(store_uri)
    if not store.has_run(run):
        newest = ", ".join(store.runs()[-3:]) or "none yet; `timbrel train RECIPE` makes one"
        raise InputError(f"the store at {store_uri} has no run {run!r}; its newest: {newest}")
    return store
