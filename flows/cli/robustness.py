"""The command that damages recordings to see what a run still hears: `timbrel robustness`."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import (
    JsonOption,
    MemoryOption,
    StoreOption,
    TimeLimitOption,
    WorkersOption,
    open_store_of,
)
from flows.cli.output import hours, print_json, print_table, say, share

if TYPE_CHECKING:
    from training.robustness.document import ConditionScore, RobustnessResult

DEFAULT_CLIPS = 200
"""Eleven conditions make 2,200 clips of them; on two cores, some ten minutes where clips last five seconds."""

_MOST_NAMED = 10
"""Clips left out that are named; --json has all of them."""


def robustness_command(
    run: Annotated[str, typer.Argument(help="The id of a run, as `timbrel status` lists it.")],
    store: StoreOption,
    clips: Annotated[
        int, typer.Option("--clips", min=1, help="Damage at most so many test clips, drawn with every fold's share.")
    ] = DEFAULT_CLIPS,
    noise: Annotated[
        str | None,
        typer.Option(
            "--noise",
            metavar="FOLDER",
            help="Recordings to mix in, a folder or s3://bucket/prefix.",
            show_default="clips of other classes that the models have learned from",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the clips drawn, and of the noise.")] = 0,
    workers: WorkersOption = None,
    memory: MemoryOption = None,
    time_limit: TimeLimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Damage a run's test clips (noise, gain, low-pass, Vorbis) and say what is left of its scores, by streams.

    Every copy goes through the run's own extractors; differences to clean copies are paired. The report is drawn anew.

    Example: timbrel robustness esc50-20260101-120000 --clips 80 --store features.timbrel
    """
    from flows.display import progress
    from flows.robustness import keep_robustness, measure_robustness
    from pipeline.limits import time_limit_of
    from training.memory import parse_memory

    memory_bytes = None if memory is None else parse_memory(memory)
    opened = open_store_of(store, run)
    with progress(quiet=as_json) as show:
        found = measure_robustness(
            opened,
            run,
            n_clips=clips,
            noise=noise,
            seed=seed,
            n_workers=workers,
            memory_bytes=memory_bytes,
            limit=time_limit_of(time_limit),
            on_progress=show,
        )
    report = keep_robustness(opened, found)
    if as_json:
        print_json(found.model_dump() | {"report": report})
    else:
        _print(found)
        say(f"report: {report}")
    raise typer.Exit(1 if found.left_out else 0)


def _print(found: "RobustnessResult") -> None:
    of_all = found.subsets[0]
    rows = [
        (condition, score.n_clips, share(score.score), _points(score))
        for condition in found.conditions
        if (score := found.of(of_all, condition)) is not None
    ]
    columns = ("condition", "clips", f"{found.headline} [95 %]", "against clean, paired")
    print_table(columns, rows, title=f"run {found.run_id}, all streams: {', '.join(of_all)}")
    if len(found.subsets) > 1:
        _print_subsets(found)
    drawn = "all" if found.n_clips == found.n_test else f"{found.n_clips:,} of {found.n_test:,}"
    say(f"{drawn} test clips, seed {found.seed}; recorded noise: {found.noise}")
    if found.largest_difference is not None:
        say(f"clean copies differ from what the run said of the clips by at most {found.largest_difference:.1g}")
    say(f"{hours(found.audio_s)} of audio in {hours(found.elapsed_s)}")
    if found.left_out:
        n_clips = len({each.uri for each in found.left_out})
        say(f"{n_clips:,} clip{'s' if n_clips > 1 else ''} could not be heard under every condition:")
        for each in found.left_out[:_MOST_NAMED]:
            say(f"  {each.uri}{'' if each.condition is None else f' ({each.condition})'}: {each.reason}")
        if len(found.left_out) > _MOST_NAMED:
            say(f"  and {len(found.left_out) - _MOST_NAMED:,} more, which --json names")


def _print_subsets(found: "RobustnessResult") -> None:
    """One line a subset; what differs from its clean score by more than chance is marked."""
    letters = {stream: chr(ord("A") + i) for i, stream in enumerate(found.subsets[0])}
    numbers = [str(i) for i in range(1, len(found.conditions) + 1)]
    rows = [
        ("".join(letters[stream] for stream in streams), *(_cell(found, streams, name) for name in found.conditions))
        for streams in found.subsets
    ]
    print_table(("hears", *numbers), rows, title=f"{found.headline} in whole percent, subset by subset")
    say("; ".join(f"{letter} {stream}" for stream, letter in letters.items()))
    say("; ".join(f"{i} {name}" for i, name in zip(numbers, found.conditions, strict=True)))
    say("* its paired interval of the difference to the clean score leaves zero out")


def _cell(found: "RobustnessResult", streams: tuple[str, ...], condition: str) -> str:
    each = found.of(streams, condition)
    if each is None or each.score is None:
        return "–"
    is_sure = each.difference is not None and not each.difference.low <= 0 <= each.difference.high
    return f"{100 * each.score.value:.0f}{'*' if is_sure else ''}"


def _points(each: "ConditionScore") -> str:
    if each.difference is None:
        return "–"
    value, low, high = (100 * part + 0.0 for part in (each.difference.value, each.difference.low, each.difference.high))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
