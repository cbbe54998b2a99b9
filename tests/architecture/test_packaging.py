"""What is said in two places is held equal: dependencies, versions, weights and their licences."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import yaml

from features.weights import WEIGHTS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements():
    return PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]


def test_environment_yml_names_the_packages_of_pyproject():
    (pip,) = (entry["pip"] for entry in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][2:])
    assert pip[0] == "-c constraints.txt"
    assert pip[-1] == "-e ."
    assert pip[1:-1] == requirements()


def test_whoever_develops_has_every_extra():
    extras = PROJECT["optional-dependencies"]
    assert len(extras) > 1
    assert {line for name in extras for line in extras[name]} == set(extras["dev"])


def test_every_dependency_is_pinned_by_the_constraints():
    pins = re.findall(r"^([A-Za-z0-9_.-]+)==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    pinned = {name.lower().replace("_", "-") for name in pins}
    names = {re.match(r"[A-Za-z0-9_.-]+", requirement).group().lower() for requirement in requirements()}
    assert len(names) > 20
    assert names <= pinned


def test_installed_version_is_that_of_pyproject_and_of_the_changelog():
    assert importlib.metadata.version("timbrel") == PROJECT["version"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_readme_names_every_weight_with_its_licence():
    readme = (ROOT / "README.md").read_text()
    for name, weight in WEIGHTS.items():
        assert re.search(rf"`{name}`.*{re.escape(weight.licence)}", readme), name
    assert "AGPL-3.0-or-later" in readme
