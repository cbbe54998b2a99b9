"""What the pitch stream stores and what its numbers depend on; planning reads this and needs no network for it."""

from typing import Literal, get_args

from features.weights import sha256_of
from storage_schema.errors import InputError
from storage_schema.streams import ArraySpec, StreamSpec
from storage_schema.timebase import FrameGrid

Model = Literal["tiny", "full"]
"""The two sizes published: 0.5 and 22 million parameters."""

Decoder = Literal["local_average", "argmax"]

SAMPLE_RATE_HZ = 16_000
"""CREPE was trained at this rate; it has no other."""


def pitch_spec(model: Model = "tiny", hop: int = 400, decoder: Decoder = "local_average") -> StreamSpec:
    """The spec of CREPE pitch: which network, hop in samples at 16 kHz, and how f0 is read off the salience.

    Raises InputError for an unknown model or decoder, and for a hop that is no whole number of at least 1.
    """
    for name, value, choices in (("model", model, get_args(Model)), ("decoder", decoder, get_args(Decoder))):
        if value not in choices:
            raise InputError(f"the {name} of pitch is one of {', '.join(choices)}, not {value!r}")
    return StreamSpec(
        stream="pitch",
        extractor="crepe",
        version=1,
        grid=FrameGrid(SAMPLE_RATE_HZ, hop),
        arrays=(
            ArraySpec(
                name="salience",
                dtype="uint8",
                unit="1",
                description="how much each pitch is present; bin b lies at 31.70 Hz * 2 ** (b / 60)",
                shape=(360,),
                scale=1 / 255,
            ),
            ArraySpec(
                name="f0_hz",
                dtype="float32",
                unit="Hz",
                description="fundamental frequency, also where there is none; read it with the periodicity",
            ),
            ArraySpec(
                name="periodicity",
                dtype="float32",
                unit="1",
                description="the highest salience of the frame, 0 to 1: how sure it is that the frame has a pitch",
            ),
        ),
        parameters={"model": model, "hop": hop, "decoder": decoder},
        weights={f"crepe-{model}": sha256_of(f"crepe-{model}")},
    )
