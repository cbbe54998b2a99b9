"""The command that says which stream carried what: `timbrel explain`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import JsonOption, MemoryOption, RunSnapshotOption, StoreOption, open_store_of
from flows.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from training.explanation import ClipExplanation, Parts, RunExplanation


def explain_command(
    run: Annotated[str, typer.Argument(help="The id of a run, as `timbrel status` lists it.")],
    store: StoreOption,
    clip: Annotated[
        str | None,
        typer.Argument(
            help="A uri, a file's name, a clip_id, or the beginning of one.",
            show_default="all test clips, class by class",
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many labels of a CLIP to print.")] = 3,
    snapshot: RunSnapshotOption = None,
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which stream carries which class, or a clip: exact Shapley values, which sum to the probability.

    Example: timbrel explain esc50-20260101-120000 dog/bark.wav --store features.timbrel
    """
    from flows.display import progress
    from training.explanation import explain_clip, explain_run
    from training.memory import parse_memory
    from training.run import open_finished

    memory_bytes = None if memory is None else parse_memory(memory)
    opened = open_store_of(store, run)
    with progress(quiet=as_json) as show:
        judged_on = None if snapshot is None else opened.snapshot(snapshot)
        finished = open_finished(opened, run, judged_on, show, memory_bytes=memory_bytes)
        of_clip = None if clip is None else explain_clip(finished, clip, show)
        of_run = explain_run(finished, show) if clip is None else None
    if as_json:
        print_json(of_clip or of_run)
    elif of_clip is not None:
        _print_clip(of_clip, top)
    elif of_run is not None:
        _print_run(of_run)


def _print_run(found: "RunExplanation") -> None:
    if found.overall is None:
        say(f"no test clip of run {found.run_id} carries a label, so that there is no class to explain")
        return
    rows = [(each.label, each.n_clips, *_points(each.parts)) for each in found.classes]
    rows.append(("all", found.n_clips, *_points(found.overall)))
    print_table(("class", "clips", *_columns(found.streams)), rows, title=f"run {found.run_id}, the true class")
    _say_how_to_read()


def _print_clip(found: "ClipExplanation", top: int) -> None:
    say(f"{found.uri} ({found.clip_id}), labelled {', '.join(found.labels) or 'nothing'}")
    if found.fold is None:
        say("no fold tests this clip; this is the mean of the models of all folds, which may have learned from it")
    else:
        say(f"by the models of fold {found.fold}, among whose test clips it is")
    likeliest = list(found.parts)[:top]
    shown = likeliest + [label for label in found.labels if label not in likeliest]
    print_table(("label", *_columns(found.streams)), [(label, *_points(found.parts[label])) for label in shown])
    _say_how_to_read()


def _columns(streams: Sequence[str]) -> tuple[str, ...]:
    return ("probability", "unheard", *streams)


def _points(parts: "Parts") -> tuple[float, ...]:
    """The parts in points of probability, which is percent, to one digit; never -0.0."""
    return tuple(round(100 * part, 1) + 0.0 for part in (parts.score, parts.base, *parts.streams.values()))


def _say_how_to_read() -> None:
    say("points of probability: what is said unheard, and what each stream adds to it, sum to the probability")
