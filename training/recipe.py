"""One TOML file that says what to train; the only module that knows how a recipe is written and what it may say.

A recipe holds choices, never places or machines: the same recipe with the same snapshot gives the same model. Every
setting has a default that is right for most, so that a recipe of two lines works.
"""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from storage_schema.errors import InputError
from storage_schema.regular import read_regular
from training.overrides import override

MAX_RECIPE_BYTES = 65_536
"""A recipe is a page; whatever is longer is some other file."""

Task = Literal["single_label", "multi_label"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(_Section):
    """What to learn from.

    `labels` keeps the clips that carry any of these labels, and of those no other label; all clips when empty.
    `missing` says what to do with clips that lack a stream: refuse the run, drop them and say how many, or mask the
    stream there and judge them by what they have.
    `fingerprints` pins a stream to one fingerprint; otherwise the one extracted last is taken.
    """

    dataset: Annotated[str, Field(min_length=1)]
    streams: Annotated[tuple[Name, ...], Field(min_length=1)] = ("pitch", "timbre", "neural", "waveform")
    labels: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    missing: Literal["refuse", "drop", "mask"] = "refuse"
    fingerprints: dict[str, str] = {}

    @model_validator(mode="after")
    def _streams_are_distinct(self) -> "DataSettings":
        if len(set(self.streams)) != len(self.streams):
            raise ValueError("streams names one stream twice")
        strangers = sorted(set(self.fingerprints) - set(self.streams))
        if strangers:
            raise ValueError(f"fingerprints names {', '.join(strangers)}, which streams does not")
        return self


class SplitSettings(_Section):
    """Which clips are learned from and which are judged.

    "folds": each fold of `test_folds` (all there are, when empty) is the test set once. "official": the dataset's own
    split. "held_out": `test_share` of the clips, by source group. "by_hash": the same, drawn by a hash of each group,
    so that a test clip stays one however the dataset grows. Where the dataset has no validation clips of its
    own, `validation_share` of the training clips is set aside, by source group.
    """

    kind: Literal["folds", "official", "held_out", "by_hash"] = "folds"
    test_folds: tuple[int, ...] = ()
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.2


class WindowSettings(_Section):
    """The span a model sees, and the step from one to the next when a clip is scored; whole milliseconds."""

    length_s: Annotated[float, Field(ge=0.025, le=60)] = 1.0
    hop_s: Annotated[float, Field(ge=0.025, le=60)] = 0.5

    @model_validator(mode="after")
    def _whole_milliseconds(self) -> "WindowSettings":
        for name in ("length_s", "hop_s"):
            value = getattr(self, name)
            if abs(value * 1000 - round(value * 1000)) > 1e-6:
                raise ValueError(f"{name} is {value} s, which is no whole number of milliseconds")
        if self.hop_s > self.length_s:
            raise ValueError(f"hop_s is {self.hop_s} s, longer than the window of {self.length_s} s")
        return self


class ModelSettings(_Section):
    """The shape of each stream's encoder: a Transformer of `layers` layers of width `dim`, about 0.1 M parameters.

    `token_s` is the shortest a token may be: neighbouring frames are merged until they last as long. At 0.025 s every
    frame of the shared grid is a token, as in the paper; twice that makes fitting twice as fast.
    """

    dim: Annotated[int, Field(ge=4, le=1024)] = 64
    layers: Annotated[int, Field(ge=1, le=24)] = 2
    heads: Annotated[int, Field(ge=1, le=64)] = 4
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    token_s: Annotated[float, Field(gt=0, le=10)] = 0.025

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> "ModelSettings":
        if self.dim % self.heads or self.dim % 2:
            raise ValueError(f"dim is {self.dim}, which must be even and divisible by heads, {self.heads}")
        return self


class FitSettings(_Section):
    """How each encoder is fitted.

    An epoch shows one random window of every training clip; the learning rate falls to nothing over all `epochs`. With
    `refit` the encoder is fitted again, on training and validation clips together. `mixup` is the alpha of its Beta
    distribution, 0 for none; `token_mask` the share of tokens hidden in training. Streams of pretrained embeddings are
    fitted without mixup and smoothing (docs/decisions/0007).
    """

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 40
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 4e-3
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.05
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 32
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    mixup: Annotated[float, Field(ge=0, le=10)] = 0.3
    token_mask: Annotated[float, Field(ge=0, lt=1)] = 0.1
    patchout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    refit: bool = True
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


KINDS = ("late", "feature", "representation", "both")
"""The ways of fusing, as a recipe names them."""


class FusionSettings(_Section):
    """How the streams are brought together.

    "late": encoders fitted apart, then a calibrated linear head over their embeddings. "feature": the tokens of all
    streams in one Transformer. "representation": a gated sum of the streams' embeddings, fitted jointly. "both": the
    last two together. `contrastive` is the weight of a symmetric InfoNCE loss that draws the streams' embeddings of
    one clip together, `temperature` its own. `stream_dropout` is the share of windows from which a stream is taken
    in a joint fit, so that a clip without it is no surprise.
    """

    kind: Literal["late", "feature", "representation", "both"] = "late"
    contrastive: Annotated[float, Field(ge=0, le=10)] = 0.0
    temperature: Annotated[float, Field(ge=0.01, le=10)] = 0.1
    stream_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class Recipe(_Section):
    """A whole recipe. `task` is inferred from the labels where it is not stated."""

    task: Task | None = None
    data: DataSettings
    split: SplitSettings = SplitSettings()
    window: WindowSettings = WindowSettings()
    model: ModelSettings = ModelSettings()
    fusion: FusionSettings = FusionSettings()
    fit: FitSettings = FitSettings()


def with_kind(recipe: Recipe, kind: str) -> Recipe:
    """The recipe with another way of fusing, one of `KINDS`."""
    return recipe.model_copy(update={"fusion": recipe.fusion.model_copy(update={"kind": kind})})


def load_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """The recipe in the file `path`, with `settings` such as "fit.epochs=5" in place of its own.

    Raises InputError that names the file and every problem found in it.
    """
    try:
        content = read_regular(path, MAX_RECIPE_BYTES)
    except OSError as error:
        raise InputError(f"the recipe {path} cannot be read: {error.strerror}; name a TOML file") from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"the recipe {path} is no UTF-8 text (byte {error.start}); save it as UTF-8") from error
    return parse_recipe(text, str(path), settings)


def parse_recipe(text: str, source: str, settings: Sequence[str] = ()) -> Recipe:
    """The recipe written in `text`; `source` names it in the InputError that lists what is wrong with it.

    settings: what takes the place of the recipe's own, see `training.overrides`.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"the recipe {source} is not TOML: {error}") from error
    if settings:
        document = override(document, settings)
        source = f"{source} with {' '.join(f'--set {setting}' for setting in settings)}"
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        problems = [_sentence(dict(problem)) for problem in error.errors(include_url=False)]
        raise InputError(f"the recipe {source} cannot be followed: {'; '.join(problems)}") from error


def recipe_to_toml(recipe: Recipe) -> str:
    """The recipe as TOML with every default written out; `parse_recipe` gives back an equal one."""
    document = recipe.model_dump(mode="json", exclude_none=True)
    lines = [f"{key} = {_toml(value)}" for key, value in document.items() if not isinstance(value, dict)]
    for section, settings in document.items():
        if isinstance(settings, dict):
            lines += ["", f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in settings.items())]
    return "\n".join(lines).strip() + "\n"


def _toml(value: object) -> str:
    """One value as TOML; its strings are written as JSON, whose escapes TOML shares."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _sentence(problem: dict[str, Any]) -> str:
    """One pydantic problem in our words: where it is, what is wrong, and what would be right."""
    where = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        known = ", ".join(_section_at(where[:-1]).model_fields)
        place = f"[{where[0]}] has" if len(where) > 1 else "there is"
        return f"{place} no setting {where[-1]!r}; choose from {known}"
    name = f"[{where[0]}] {'.'.join(where[1:])}".strip() if where else "the recipe"
    if problem["type"] == "missing":
        return f"{name} is missing"
    if problem["type"] == "value_error":
        return f"{name}: {problem['ctx']['error']}"
    return f"{name} is {problem['input']!r}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"


def _section_at(where: list[str]) -> type[BaseModel]:
    section: type[BaseModel] = Recipe
    for part in where:
        found = section.model_fields[part].annotation
        assert isinstance(found, type), "only sections forbid extra keys"
        assert issubclass(found, BaseModel), "only sections forbid extra keys"
        section = found
    return section
