"""The conditions that robustness is measured under: what `pipeline.perturb` can do, at fixed levels, by name. Pure.

The noise of one clip is the same at every level of it, so that what changes between 20 and 0 dB is the level alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.perturb import (
    Waveform,
    add_noise,
    add_white_noise,
    apply_gain,
    generator_of,
    low_pass,
    through_vorbis,
)

CLEAN = "clean"
SNRS_DB = (20, 10, 0)
"""Of noise: hardly noticed, disturbing, as loud as the clip itself."""

GAIN_DB = 12
"""Louder by four times, which clips what was recorded near full scale, and softer by as much."""

LOW_PASS_HZ = 4_000
"""The band of a telephone."""

Damage = Callable[[Waveform, int, np.random.Generator, Waveform | None], Waveform]
"""Called with a clip's waveform, its rate in Hz, a generator of the clip's own, and the noise drawn for it."""


@dataclass(frozen=True)
class Condition:
    """One way to damage a clip. Conditions of one `family` draw the same; `needs_noise` where a recording is mixed in.

    Make damage with `Condition.apply`.
    """

    name: str
    family: str
    damage: Damage
    needs_noise: bool = False

    def apply(
        self, waveform: Waveform, sample_rate_hz: int, clip_id: str, seed: int, noise: Waveform | None = None
    ) -> Waveform:
        """The damaged clip: the same for the same clip_id, seed and noise. ValueError where it cannot be made."""
        return self.damage(waveform, sample_rate_hz, generator_of(clip_id, f"{self.family}, seed {seed}"), noise)


def make_conditions(*, with_noise: bool = True) -> tuple[Condition, ...]:
    """All conditions, `CLEAN` first; without recordings to mix in, those that need none."""
    found = [Condition(CLEAN, CLEAN, lambda waveform, *_: waveform)]
    found += [Condition(f"white noise, {snr_db} dB", "white noise", _white(snr_db)) for snr_db in SNRS_DB]
    if with_noise:
        found += [
            Condition(f"recorded noise, {snr_db} dB", "recorded noise", _recorded(snr_db), needs_noise=True)
            for snr_db in SNRS_DB
        ]
    found += [Condition(f"gain, {gain_db:+} dB", "gain", _gain(gain_db)) for gain_db in (-GAIN_DB, GAIN_DB)]
    found.append(
        Condition(
            f"low-pass, {LOW_PASS_HZ // 1000} kHz", "low-pass", lambda clip, rate, *_: low_pass(clip, rate, LOW_PASS_HZ)
        )
    )
    found.append(Condition("Vorbis, lowest rate", "Vorbis", lambda clip, rate, *_: through_vorbis(clip, rate)))
    return tuple(found)


def _white(snr_db: int) -> Damage:
    return lambda waveform, _rate, generator, _noise: add_white_noise(waveform, snr_db, generator)


def _recorded(snr_db: int) -> Damage:
    def mix(waveform: Waveform, _rate: int, _generator: np.random.Generator, noise: Waveform | None) -> Waveform:
        if noise is None:
            raise ValueError("no recording was found to mix in")
        return add_noise(waveform, noise, snr_db)

    return mix


def _gain(gain_db: int) -> Damage:
    return lambda waveform, *_: apply_gain(waveform, gain_db)
