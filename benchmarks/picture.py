"""`python -m benchmarks.picture`: the newest figures of every row as docs/performance.svg, and as a table."""

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path

from benchmarks.measure import Row
from benchmarks.table import draw_table

_ROOT = Path(__file__).parents[1]
_WIDTH, _LEFT, _BAR, _STEP = 760, 150, 16, 30
_NAMED_SHARE = 0.08  # as many as there is room for; the others are told where somebody points at them
_COLOURS = ("#3b6ea5", "#7aa6c2", "#c9b458", "#b5654a", "#8a8a8a", "#c8c8c8")


def newest_rows() -> list[Row]:
    """Every row as it was measured last, in the order of the files."""
    found: dict[str, Row] = {}
    for file in sorted((_ROOT / "benchmarks" / "results").glob("*.json")):
        for row in json.loads(file.read_text())["rows"]:
            found[row["name"]] = Row(**row)
    return list(found.values())


def draw(rows: list[Row]) -> str:
    """The picture: ratios with their spread and bound, then where the time of each kernel goes."""
    ratios = [row for row in rows if row.ours_s]
    shares: Mapping[str, Mapping[str, float]] = next((row.figures for row in rows if row.name == "where"), {})
    lines, y = [_text(0, 20, "How many times as fast as what it is compared with; a mark is the bound", "bold")], 40
    longest = max(max(row.ratios) for row in ratios)
    scale = (_WIDTH - _LEFT - 60) / longest
    for row in ratios:
        low, high = (_LEFT + scale * edge for edge in (min(row.ratios), max(row.ratios)))
        end, middle = _LEFT + scale * row.ratio, y + _BAR / 2
        lines += [
            _text(0, y + 13, row.name),
            f'<rect x="{_LEFT}" y="{y}" width="{end - _LEFT:.1f}" height="{_BAR}" fill="{_COLOURS[0]}"/>',
            f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#222" stroke-width="2"/>',
        ]
        bound = next((float(word) for word in row.bound.replace(",", "").split() if word[0].isdigit()), None)
        if bound is not None:
            x = _LEFT + scale * bound
            lines.append(f'<path d="M{x:.1f} {y - 4}V{y + _BAR + 4}" stroke="#b5654a" stroke-width="3"/>')
            high = max(high, x)
        lines.append(_text(high + 6, y + 13, f"{row.ratio:.1f}"))
        y += _STEP
    lines.append(_text(0, y + 24, "Where the time of each kernel goes now", "bold"))
    y += 44
    for name, parts in shares.items():
        lines.append(_text(0, y + 13, name))
        x = float(_LEFT)
        for number, (kind, share) in enumerate(parts.items()):
            width = share * (_WIDTH - _LEFT)
            colour = _COLOURS[number % len(_COLOURS)]
            lines.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}">'
                f"<title>{escape(kind)} {share:.0%}</title></rect>"
            )
            x += width
        legend = ", ".join(f"{kind} {share:.0%}" for kind, share in parts.items() if share >= _NAMED_SHARE)
        lines.append(_text(_LEFT, y + 32, legend))
        y += 50
    body = "\n".join(lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="{_WIDTH}" height="{y}" fill="white"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, words: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-weight="{weight}" fill="#222">{escape(words)}</text>'


if __name__ == "__main__":
    newest = newest_rows()
    (_ROOT / "docs" / "performance.svg").write_text(draw(newest))
    print(draw_table(newest))
