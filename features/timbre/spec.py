"""What the `timbre` stream is; imports no essentia, so that planning starts at once."""

from features.timbre.descriptors import DESCRIPTORS
from storage_schema.streams import ArraySpec, Channel, StreamSpec
from storage_schema.timebase import FrameGrid

SAMPLE_RATE_HZ = 48_000

FRAME_LENGTH = 2_048
"""43 ms. Longer than the hop of 25 ms, so that every sample is heard; long enough to part the partials of a tone above
94 Hz, four bins of 23.4 Hz; a power of two for the FFT. The window is Hann's, which YinFFT asks for."""

VERSION = 1


def timbre_spec(hop: int = 1_200) -> StreamSpec:
    """One row of Essentia descriptors every `hop` samples at 48 kHz, 25 ms by default.

    Raises InputError where `hop` is no whole number of at least one sample.
    """
    return StreamSpec(
        stream="timbre",
        extractor="essentia-timbre",
        version=VERSION,
        grid=FrameGrid(SAMPLE_RATE_HZ, hop),
        arrays=(
            ArraySpec(
                name="descriptors",
                dtype="float32",
                unit="see channels",
                description="Essentia timbre descriptors of the 43 ms around the frame's centre",
                shape=(len(DESCRIPTORS),),
                channels=tuple(Channel(descriptor.name, descriptor.unit) for descriptor in DESCRIPTORS),
            ),
        ),
        parameters={"hop": hop},
    )
