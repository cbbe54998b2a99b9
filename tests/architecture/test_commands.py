"""A message that says which command helps names one that exists."""

import re
from pathlib import Path

from flows.cli.main import app

ROOT = Path(__file__).parents[2]
PACKAGES = ("storage_schema", "features", "pipeline", "training", "flows")


def test_every_command_that_the_code_or_the_readme_recommends_exists():
    known = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    sources = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    texts = {path: path.read_text(encoding="utf-8") for path in [*sources, ROOT / "README.md"]}
    named = [(path.name, name) for path, text in texts.items() for name in re.findall(r"`timbrel ([a-z]+)", text)]
    assert len(named) > 20
    assert [(file, name) for file, name in named if name not in known] == []
