"""What a robustness measurement found, as one document: `robustness.json` of a run, read by the report."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from storage_schema.errors import StoreError
from storage_schema.regular import read_regular
from training.results import Interval

ROBUSTNESS = "robustness.json"
MAX_BYTES = 64 * 2**20
"""Far above the document of any run; whatever is longer is not read."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ConditionScore(_Document):
    """What the fusion reaches under one condition when it hears only `streams`.

    score: the run's headline metric over `n_clips`, None where no class has a figure. difference: score minus that of
    the clean copies of the same clips, paired; None for the clean condition itself.
    """

    streams: tuple[str, ...]
    condition: str
    n_clips: int
    score: Interval | None
    difference: Interval | None = None


class LeftOut(_Document):
    """A test clip that could not be judged, and why; under all conditions where `condition` is None."""

    uri: str
    condition: str | None
    reason: str


class RobustnessResult(_Document):
    """One measurement. `conditions` are in the order they are shown, the clean one first; `subsets` all streams first.

    n_test: the run's test clips, of which `n_clips` were chosen. noise: what the recorded noise is, in words.
    largest_difference: between a probability of a clean copy and what the run itself said of the clip, over all chosen
    clips; None where the run's own cannot be read.
    """

    run_id: str
    dataset: str
    snapshot: str
    headline: str
    conditions: tuple[str, ...]
    subsets: tuple[tuple[str, ...], ...]
    n_test: int
    n_clips: int
    seed: int
    noise: str
    scores: tuple[ConditionScore, ...]
    left_out: tuple[LeftOut, ...] = ()
    largest_difference: float | None = None
    audio_s: float
    elapsed_s: float
    measured_at: str

    def of(self, streams: tuple[str, ...], condition: str) -> ConditionScore | None:
        """The figure of one subset under one condition."""
        found = (each for each in self.scores if each.streams == streams and each.condition == condition)
        return next(found, None)


def read_robustness(folder: Path) -> RobustnessResult | None:
    """What was measured of the run in `folder`, None where nothing was. Raises StoreError where it cannot be read."""
    path = folder / ROBUSTNESS
    try:
        return RobustnessResult.model_validate_json(read_regular(path, MAX_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}; `timbrel robustness` writes it anew") from error
    except ValidationError as error:
        raise StoreError(
            f"{path} is no measurement of robustness ({error.error_count()} problems); `timbrel robustness` writes it "
            "anew"
        ) from error
