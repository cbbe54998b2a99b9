"""Every input that people were promised a row or a sentence for, and how to make it; what should come of it beside it.

`PROMISED` is the promise, phrase by phrase; each case names the phrase it stands for, and a test holds that none is
missing. A case is a file in a folder that is ingested and extracted; what is no file of its own is in `sentences`.
"""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import soundfile

CHANGES = "a file that changes between ingest and extraction"
VANISHES = "a file that vanishes between ingest and extraction"

OF_A_DISK = ("a full disk in mid-run", "a read-only store in mid-run")
"""What tests/bad_input/test_disk.py makes, which needs a file system of its own."""

PROMISED = (
    "zero bytes", "header only", "truncated WAV", "truncated FLAC", "truncated Ogg", "truncated MP3", "text named .wav",
    "NaN", "infinity", "full-scale", "DC", "digital silence", "one sample",
    "8-bit", "16-bit", "24-bit", "32-bit float", "64-bit float", "1 to 8 channels", "8 to 192 kHz", "three hours",
    "unreadable", "dangling link", "link loop", "a named pipe", "a device file",
    "names with spaces", "names with emoji", "names with newlines", "names with quotes", "names with `..`",
    "names of 255 bytes", "names that are no UTF-8", "a CSV with a path outside its root",
    CHANGES, VANISHES,
    "the same bytes under two names", *OF_A_DISK,
    "a catalogue from a future version",
)  # fmt: skip

RATES_HZ = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000)

SECONDS = 0.4
"""A whole number of samples at every rate above; 16 frames of the waveform stream and 17 of a centred one."""

WHOLE = "ok: 16 + 17 frames"
"""What comes of a whole recording: frames of `waveform` and of `logmel`, by the arithmetic of the 25 ms grid."""

ONE_FRAME = "ok: 1 + 1 frames"
SHORTER = "ok: fewer frames"
"""A damaged file that its decoder plays as far as it goes."""

Make = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """One file: `make` writes it before the ingest, `spoil` does something to it between ingest and extraction."""

    promise: str
    file: str
    make: Make
    outcome: str
    spoil: Make | None = None


def tone(n_channels: int = 1, sample_rate_hz: int = 16_000, frequency_hz: float = 440.0) -> np.ndarray:
    """SECONDS of a sine at half of full scale, the same in each channel: (sample, channel)."""
    t = np.arange(round(SECONDS * sample_rate_hz)) / sample_rate_hz
    return np.tile(0.5 * np.sin(2 * np.pi * frequency_hz * t)[:, None], n_channels)


def write(subtype: str = "PCM_16", sample_rate_hz: int = 16_000, n_channels: int = 1, **values: float) -> Make:
    """A tone, or with `value` a constant; with `at_one` only that one sample of the tone is so."""

    def make(path: Path) -> None:
        samples = tone(n_channels, sample_rate_hz, 300 + sum(map(ord, path.name)) % 4000)  # so that no two are the same
        if "value" in values:
            samples[:] = values["value"]
        if "at_one" in values:
            samples[100] = values["at_one"]
        path.write_bytes(encoded(samples, sample_rate_hz, subtype))

    return make


def encoded(
    samples: np.ndarray, sample_rate_hz: int = 16_000, subtype: str | None = None, container: str = "WAV"
) -> bytes:
    """The bytes of a file; libsndfile itself could not give it any name."""
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate_hz, subtype=subtype, format=container)
    return file.getvalue()


def truncated(share: float, container: str) -> Make:
    """Four seconds of noise, of which the first `share` of its bytes is left."""

    def make(path: Path) -> None:
        content = encoded(np.random.default_rng(4).normal(0, 0.1, 64_000), container=container)
        path.write_bytes(content[: int(share * len(content))])

    return make


def _header_only(path: Path) -> None:
    path.write_bytes(encoded(tone())[:44])


def _no_samples(path: Path) -> None:
    path.write_bytes(encoded(np.zeros((0, 1))))


def _one_sample(path: Path) -> None:
    path.write_bytes(encoded(np.array([0.25])))


def reads_everything() -> bool:
    """Whether no file is forbidden to us, as none is to root."""
    with NamedTemporaryFile() as file:
        os.chmod(file.name, 0)
        return os.access(file.name, os.R_OK)


def _forbidden(path: Path) -> None:
    write()(path)
    path.chmod(0)


def _rewrite(path: Path) -> None:
    path.write_bytes(encoded(0.3 * tone(frequency_hz=1234.0)))


def _copy_of(name: str) -> Make:
    return lambda path: path.write_bytes(path.with_name(name).read_bytes())


CASES: tuple[Case, ...] = (
    Case("zero bytes", "zero.wav", lambda path: path.touch(), "decode: empty"),
    Case("header only", "header.wav", _header_only, "decode: empty"),
    Case("header only", "header that says so.wav", _no_samples, "decode: empty"),
    Case("truncated WAV", "truncated.wav", truncated(0.7, "WAV"), SHORTER),
    Case("truncated FLAC", "truncated.flac", truncated(0.7, "FLAC"), "decode: undecodable"),
    Case("truncated Ogg", "truncated.ogg", truncated(0.7, "OGG"), SHORTER),
    Case("truncated Ogg", "header of an.ogg", truncated(0.02, "OGG"), "decode: undecodable"),
    Case("truncated MP3", "truncated.mp3", truncated(0.7, "MP3"), SHORTER),
    Case("text named .wav", "text.wav", lambda path: path.write_text("this is no audio\n" * 99), "decode: undecodable"),
    Case("NaN", "nan.wav", write("FLOAT", at_one=np.nan), "decode: not_finite"),
    Case("infinity", "inf.wav", write("FLOAT", at_one=np.inf), "decode: not_finite"),
    Case("infinity", "minus inf.wav", write("DOUBLE", at_one=-np.inf), "decode: not_finite"),
    Case("full-scale", "full-scale.wav", write(value=1.0), WHOLE),
    Case("full-scale", "minus full-scale.wav", write(value=-1.0), WHOLE),
    Case("full-scale", "beyond full-scale.wav", write("FLOAT", value=8.0), WHOLE),
    Case("DC", "dc.wav", write(value=0.3), WHOLE),
    Case("digital silence", "silence.wav", write(value=0.0), WHOLE),
    Case("one sample", "one sample.wav", _one_sample, ONE_FRAME),
    Case("8-bit", "8 bit.wav", write("PCM_U8"), WHOLE),
    Case("16-bit", "16 bit.wav", write("PCM_16"), WHOLE),
    Case("24-bit", "24 bit.wav", write("PCM_24"), WHOLE),
    Case("32-bit float", "32 bit float.wav", write("FLOAT"), WHOLE),
    Case("64-bit float", "64 bit float.wav", write("DOUBLE"), WHOLE),
    *(Case("1 to 8 channels", f"{n} channels.wav", write(n_channels=n), WHOLE) for n in range(1, 9)),
    *(Case("8 to 192 kHz", f"{rate} Hz.wav", write(sample_rate_hz=rate), WHOLE) for rate in RATES_HZ),
    Case("unreadable", "a folder.wav", lambda path: path.mkdir(), "ingest: unreadable"),
    # Reading the memory of a process at address 0 is an input/output error, for root too.
    Case("unreadable", "input-output error.wav", lambda path: path.symlink_to("/proc/self/mem"), "ingest: unreadable"),
    Case("unreadable", "forbidden.wav", _forbidden, WHOLE if reads_everything() else "ingest: unreadable"),
    Case("dangling link", "dangling.wav", lambda path: path.symlink_to("nowhere.wav"), "ingest: vanished"),
    Case("link loop", "loop.wav", lambda path: path.symlink_to(path.name), "ingest: unreadable"),
    Case("a named pipe", "pipe.wav", os.mkfifo, "ingest: unreadable"),
    Case("a device file", "device.wav", lambda path: path.symlink_to("/dev/zero"), "ingest: unreadable"),
    Case("names with spaces", "  a  name .wav", write(), WHOLE),
    Case("names with emoji", "🥁🎺.wav", write(), WHOLE),
    Case("names with newlines", "two\nlines\r.wav", write(), WHOLE),
    Case("names with quotes", "quo\"t'e`$(x)\\.wav", write(), WHOLE),
    Case("names with `..`", "up..down...wav", write(), WHOLE),
    Case("names of 255 bytes", "ä" * 125 + "n.wav", write(), WHOLE),
    Case("names that are no UTF-8", os.fsdecode(b"caf\xe9.wav"), write(), "ingest: unreadable"),
    Case(CHANGES, "changes.wav", write(), "decode: changed", _rewrite),
    Case(CHANGES, "touched.wav", write(), WHOLE, lambda path: os.utime(path, (1, 1))),
    Case(VANISHES, "vanishes.wav", write(), "decode: vanished", Path.unlink),
    Case("the same bytes under two names", "first.wav", write(), WHOLE),
    Case("the same bytes under two names", "second.wav", _copy_of("first.wav"), WHOLE),
    Case("the same bytes under two names", "first of two.wav", write(), WHOLE, Path.unlink),
    Case("the same bytes under two names", "other of two.wav", _copy_of("first of two.wav"), WHOLE),
)
