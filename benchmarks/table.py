"""Rows as a table in Markdown."""

from collections.abc import Sequence

from benchmarks.measure import Row

_HEAD = (
    "| row | work | ours, s | theirs, s | ratio [lowest, highest] | bound | figures |\n|---|---|---|---|---|---|---|"
)


def draw_table(rows: Sequence[Row]) -> str:
    """One line a row; times are medians."""
    return "\n".join([_HEAD, *map(_line, rows)])


def _line(row: Row) -> str:
    ratio = f"**{row.ratio:.2f}** [{min(row.ratios):.2f}, {max(row.ratios):.2f}]" if row.ours_s else ""
    figures = "; ".join(f"{name} {_number(value)}" for name, value in row.figures.items())
    times = [f"{sorted(seconds)[len(seconds) // 2]:.3g}" if seconds else "" for seconds in (row.ours_s, row.theirs_s)]
    work = f"{row.work}, against {row.against}" if row.against else row.work
    return f"| {row.name} | {work} | {' | '.join(times)} | {ratio} | {row.bound} | {figures} |"


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
