"""Every library that the code imports is declared, perhaps by an extra, and every one that is declared is imported."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("storage_schema", "features", "pipeline", "training", "flows")
# The first two only keep prefect from versions it breaks on; torch imports the last.
NOT_IMPORTED = {"fastapi", "sqlalchemy", "onnxscript"}


def imported_modules():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    yield node.module.partition(".")[0]


def test_declared_dependencies_are_those_that_are_imported():
    modules = set(imported_modules()) - set(sys.stdlib_module_names) - set(PACKAGES)
    assert len(modules) > 15
    distributions = packages_distributions()
    used = {distributions[module][0].lower().replace("_", "-") for module in modules}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for name in extras if name != "dev" for line in extras[name])]
    declared = {re.match(r"[A-Za-z0-9-]+", line).group() for line in lines}
    assert used == declared - NOT_IMPORTED
