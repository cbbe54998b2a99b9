"""What the documents say is there is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_link_inside_the_project_leads_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert documents
    links = [(page, link) for page in documents for link in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))]
    inside = [(page, link) for page, link in links if "://" not in link]
    assert inside
    assert [f"{page.name}: {link}" for page, link in inside if not (page.parent / link).exists()] == []
