"""docs/training.md names every setting of a recipe with its default, and none that there is not."""

import json
import re
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from training.recipe import Recipe

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def settings_of(section: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """Every setting with its default as the page writes it."""
    found: dict[str, str] = {}
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= settings_of(kind, f"{name}.")
        elif field.default is PydanticUndefined:
            found[prefix + name] = "required"
        else:
            found[prefix + name] = "by the labels" if field.default is None else f"`{json.dumps(field.default)}`"
    return found


def test_the_page_names_every_setting_with_its_default_and_meaning() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    expected = settings_of(Recipe)
    assert len(expected) > 20
    assert {name: default for name, default, _ in rows} == expected
    assert len(rows) == len(expected)  # none twice
    assert all(len(meaning) > 5 for *_, meaning in rows)
