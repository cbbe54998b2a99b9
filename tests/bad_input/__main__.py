"""`python -m tests.bad_input` prints what comes of every bad input as a Markdown table; with `--json`, as JSON."""

import json
import resource
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.bad_input.disk import MODES, N_CLIPS, run_apart, words_for_own_mounts
from tests.bad_input.outcomes import Outcome, file_outcomes, long_outcome, sentence_outcomes, timbre_outcomes


def all_outcomes(folder: Path) -> list[Outcome]:
    """Every case but those of a disk, which tests/bad_input/test_disk.py makes."""
    outcomes: list[Outcome] = []
    for name, run in (("files", file_outcomes), ("timbre", timbre_outcomes), ("sentences", sentence_outcomes)):
        (folder / name).mkdir()
        outcomes += run(folder / name)
    return [*outcomes, long_outcome(folder / "long")]


def disk_outcomes(folder: Path) -> list[Outcome]:
    """The two cases of a disk, where this machine lets us mount one."""
    outcomes = []
    expected = f"StoreError; {N_CLIPS} of {N_CLIPS} clips after the same command again"
    for promise, mode in MODES.items():
        (folder / mode).mkdir()
        before = words_for_own_mounts(folder / mode)
        if before is None:
            outcomes.append(Outcome(promise, "-", expected, "not tried: no file system can be mounted here"))
            continue
        found = run_apart(mode, folder / mode, before)
        again = f"{found['again']['n_whole']} of {N_CLIPS} clips after the same command again"
        told = found["first"]["told"]
        outcomes.append(Outcome(promise, "-", expected, f"{'StoreError' if told else 'nothing'}; {again}", told))
    return outcomes


def _cell(text: str, folder: Path) -> str:
    printable = text.encode("utf-8", "backslashreplace").decode().replace(f"{folder}/", "")
    return printable.replace("\n", "⏎").replace("\r", "␍").replace("|", "\\|")


def main() -> None:
    """Make, run and print them all, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outcomes = all_outcomes(folder)
        if "--json" in sys.argv[1:]:
            print(json.dumps([asdict(outcome) for outcome in outcomes]))
            return
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        outcomes += disk_outcomes(folder)
        print("| input | file | outcome | what is told |\n|---|---|---|---|")
        for outcome in outcomes:
            cells = (outcome.promise, outcome.file, outcome.found, outcome.words)
            flag = "" if outcome.found == outcome.expected else f" (expected {outcome.expected})"
            print("|", " | ".join(_cell(cell, folder) for cell in cells) + flag, "|")
        print(f"\nThe largest worker process held {peak_mb:,.0f} MB at its peak, with three hours in one piece.")


if __name__ == "__main__":
    main()
