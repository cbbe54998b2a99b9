"""The worst mistakes: the test clips in which a wrong label was heard with the highest probability."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from storage_schema.errors import InputError, StoreError
from storage_schema.reader import StreamReader
from storage_schema.snapshot import Snapshot
from training.attribution import Attribution
from training.exhibits.judged import Judged
from training.exhibits.sound import Contour, Sound, has_contour, is_waveform, make_contour, make_sound
from training.recipe import Task

N_MISTAKES = 8


@dataclass(frozen=True)
class Belief:
    """How probable the model finds a label, and what each stream added to what is said without hearing, `base`."""

    label: str
    probability: float
    base: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Mistake:
    """A clip with a wrong label: `heard` is that label; `missed` its true label that was found least probable.

    `sound` and `contour` are None where the store has no waveform or pitch of the clip.
    """

    uri: str
    truth: tuple[str, ...]
    heard: Belief
    missed: Belief | None
    sound: Sound | None = None
    contour: Contour | None = None


def worst_mistakes(judged: Judged, task: Task, at_most: int = N_MISTAKES) -> list[tuple[int, int]]:
    """The clips, and the wrong label heard in each, the most confident first; ties in the order of the clips."""
    wrong = np.where(judged.is_true | ~judged.is_heard(task), -1.0, judged.probabilities)
    label = wrong.argmax(axis=1)
    confidence = wrong.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    return [(int(i), int(label[i])) for i in order[:at_most] if confidence[i] >= 0]


def make_mistake(
    judged: Judged, place: int, label: int, labels: Sequence[str], found: Attribution | None, row: int
) -> Mistake:
    """The mistake at `place`, which is the clip in row `row` of `found`."""
    true = np.flatnonzero(judged.is_true[place])
    missed = int(true[judged.probabilities[place][true].argmin()]) if len(true) else None

    def belief(i: int) -> Belief:
        probability = float(judged.probabilities[place, i])
        if found is None:
            return Belief(labels[i], probability)
        values = dict(zip(found.streams, found.values[row, :, i].tolist(), strict=True))
        return Belief(labels[i], probability, float(found.base[row, i]), values)

    return Mistake(
        judged.uris[place],
        tuple(labels[i] for i in true.tolist()),
        belief(label),
        None if missed is None else belief(missed),
    )


@dataclass(frozen=True)
class Recordings:
    """What the store has for the eye and the ear, whether or not the run's models hear it."""

    waveform: StreamReader | None
    pitch: StreamReader | None

    @classmethod
    def of(cls, snapshot: Snapshot, fingerprints: Mapping[str, str]) -> "Recordings":
        waveform = _open(snapshot, "waveform", fingerprints)
        pitch = _open(snapshot, "pitch", fingerprints)
        return cls(
            waveform if waveform is not None and is_waveform(waveform.spec) else None,
            pitch if pitch is not None and has_contour(pitch.spec) else None,
        )

    def sound(self, clip_id: str, clip_s: float | None) -> Sound | None:
        if self.waveform is None or clip_id not in self.waveform.locations:
            return None
        return make_sound(self.waveform.spec, self.waveform.read(clip_id), clip_s)

    def contour(self, clip_id: str) -> Contour | None:
        if self.pitch is None or clip_id not in self.pitch.locations:
            return None
        return make_contour(self.pitch.spec, self.pitch.read(clip_id))


def _open(snapshot: Snapshot, stream: str, fingerprints: Mapping[str, str]) -> StreamReader | None:
    try:
        return snapshot.stream(stream, fingerprints.get(stream))
    except (InputError, StoreError):
        return None
