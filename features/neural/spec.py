"""What the `neural` stream is; imports neither torch nor numpy's heavier sisters, so that planning starts at once.

aiSFX is the network X-Sequential-CE of Ma and Lerch, "Representation Learning for the Automatic Indexing of Sound
Effects Libraries", ISMIR 2022, trained on libraries of sound effects. Its weights are under CC BY 4.0.
"""

from features.weights import sha256_of
from storage_schema.streams import ArraySpec, StreamSpec
from storage_schema.timebase import FrameGrid

SAMPLE_RATE_HZ = 44_100
SPECTRUM_HOP = 1_024
"""Samples between the spectrogram frames."""

BLOCK_FRAMES = 100
"""Spectrogram frames the network looks at: 2.3 s."""

HOP_FRAMES = 50
"""Spectrogram frames between two embeddings, half of what each one looks at: the paper's choice."""

EMBEDDING_LENGTH = 512

VERSION = 1


def aisfx_spec() -> StreamSpec:
    """One aiSFX embedding every 51,200 samples at 44.1 kHz, 1.16 s.

    Embedding i looks at the spectrogram frames [50 i, 50 i + 100), that is at the samples
    [51200 i - 1024, 51200 i + 102400), silence where the clip has none. The grid says which samples it is *of*,
    [51200 i, 51200 (i + 1)), so that each sample belongs to one embedding and the last one is never dropped.
    """
    return StreamSpec(
        stream="neural",
        extractor="aisfx",
        version=VERSION,
        grid=FrameGrid(SAMPLE_RATE_HZ, HOP_FRAMES * SPECTRUM_HOP, "blocks"),
        arrays=(
            ArraySpec(
                name="embedding",
                dtype="float16",
                unit="1",
                description="aiSFX embedding of the 2.3 s that begin with this block; no value is negative",
                shape=(EMBEDDING_LENGTH,),
            ),
        ),
        weights={"aisfx": sha256_of("aisfx")},
    )
