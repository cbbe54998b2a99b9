"""Decoding: what a file turns into, and what every kind of bad file is called."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.decode import decode, decode_each, hash_file, probe
from pipeline.locations import open_file
from storage_schema.errors import ClipError

RATE_HZ = 16_000


def _sine(n_samples: int = RATE_HZ, rate_hz: int = RATE_HZ, f0_hz: float = 440.0) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * f0_hz * np.arange(n_samples) / rate_hz)


def _write(path: Path, samples: NDArray[np.float64], rate_hz: int = RATE_HZ, **how: str) -> Path:
    soundfile.write(path, samples, rate_hz, **how)
    return path


def _truncated(path: Path, share: float, **how: str) -> Path:
    """The first `share` of the bytes of four seconds of noise."""
    _write(path, np.random.default_rng(0).normal(0, 0.1, 4 * RATE_HZ), **how)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def _bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _header_only(path: Path) -> Path:
    return _bytes(path, _write(path, _sine()).read_bytes()[:44])


def _no_samples(path: Path) -> Path:
    return _write(path, np.zeros(0))


def _with_sample(path: Path, value: float) -> Path:
    samples = _sine()
    samples[100] = value
    return _write(path, samples, subtype="DOUBLE")


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _link_loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


def _dangling(path: Path) -> Path:
    path.symlink_to(path.with_name("nowhere.wav"))
    return path


def _flac_that_counts(path: Path, n_samples: int) -> Path:
    """A FLAC file of one second whose header states that it holds `n_samples`; 0 says that nobody counted."""
    content = bytearray(_write(path, _sine(), format="FLAC").read_bytes())
    fields = int.from_bytes(content[18:26], "big") >> 36 << 36 | n_samples  # the low 36 bits count the samples
    content[18:26] = fields.to_bytes(8, "big")
    return _bytes(path, bytes(content))


BAD: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "missing": ("vanished", lambda path: path),
    "below a file": ("vanished", lambda path: _bytes(path, b"text") / "x.wav"),
    "dangling link": ("vanished", _dangling),
    "link loop": ("unreadable", _link_loop),
    "folder": ("unreadable", _folder),
    "pipe": ("unreadable", _pipe),
    "socket": ("unreadable", _socket),
    "device": ("unreadable", lambda _: Path("/dev/zero")),
    "zero bytes": ("empty", lambda path: _bytes(path, b"")),
    "header only": ("empty", _header_only),
    "no samples": ("empty", _no_samples),
    "text": ("undecodable", lambda path: _bytes(path, b"this is not audio\n" * 40)),
    "noise": ("undecodable", lambda path: _bytes(path, np.random.default_rng(1).bytes(4096))),
    "half a flac": ("undecodable", lambda path: _truncated(path, 0.5, format="FLAC")),
    "half an ogg header": ("undecodable", lambda path: _truncated(path, 0.02, format="OGG")),
    "nan": ("not_finite", lambda path: _with_sample(path, float("nan"))),
    "infinity": ("not_finite", lambda path: _with_sample(path, float("-inf"))),
    "finite, but no audio": ("undecodable", lambda path: _with_sample(path, 1e30)),
    "beyond float32": ("not_finite", lambda path: _with_sample(path, 1e300)),
}


@pytest.mark.parametrize("case", BAD)
def test_decode_names_what_is_wrong_with_a_bad_file(case: str, tmp_path: Path) -> None:
    kind, make = BAD[case]
    path = make(tmp_path / "x.wav")
    with pytest.raises(ClipError) as caught:
        decode(path, RATE_HZ)
    assert caught.value.kind == kind
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("case", [case for case, (kind, _) in BAD.items() if kind in ("vanished", "unreadable")])
def test_hash_and_probe_refuse_what_cannot_be_opened(case: str, tmp_path: Path) -> None:
    kind, make = BAD[case]
    path = make(tmp_path / "x.wav")
    for function in (hash_file, probe):
        with pytest.raises(ClipError) as caught:
            function(path)
        assert caught.value.kind == kind


def test_the_bad_inputs_cover_every_kind_that_decoding_can_raise() -> None:
    assert {kind for kind, _ in BAD.values()} == {"vanished", "unreadable", "empty", "undecodable", "not_finite"}


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.au", "a.ogg", "a.mp3"])
def test_a_truncated_file_is_a_shorter_clip_where_its_decoder_says_so(name: str, tmp_path: Path) -> None:
    waveform = decode(_truncated(tmp_path / name, 0.9), RATE_HZ)
    assert RATE_HZ < len(waveform) < 4 * RATE_HZ


def test_a_header_that_promises_weeks_of_audio_allocates_none_of_it(tmp_path: Path) -> None:
    path = _flac_that_counts(tmp_path / "x.flac", 2**36 - 1)
    assert probe(path).n_samples == 2**36 - 1
    assert len(decode(path, RATE_HZ)) == RATE_HZ


def test_a_clip_that_takes_more_memory_than_there_is_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_args: object, **_how: object) -> None:
        raise MemoryError

    path = _write(tmp_path / "slow.wav", _sine(), 1)  # claims one sample a second
    monkeypatch.setattr("soxr.resample", exhausted)
    with pytest.raises(ClipError, match=r"slow\.wav takes more memory") as caught:
        decode(path, RATE_HZ)
    assert caught.value.kind == "undecodable"


def test_a_streamed_file_whose_header_states_no_length_is_counted_and_decoded(tmp_path: Path) -> None:
    path = _flac_that_counts(tmp_path / "x.flac", 0)
    assert probe(path).n_samples == RATE_HZ
    np.testing.assert_allclose(decode(path, RATE_HZ), _sine(), atol=2**-15)  # one step of 16 bits


@pytest.mark.parametrize(
    ("subtype", "tolerance"),
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-22), ("PCM_32", 2**-23), ("FLOAT", 2**-24)],
)
def test_every_sample_width_decodes_to_the_same_sine(subtype: str, tolerance: float, tmp_path: Path) -> None:
    waveform = decode(_write(tmp_path / "x.wav", _sine(), subtype=subtype), RATE_HZ)
    assert waveform.dtype == np.float32
    np.testing.assert_allclose(waveform, _sine(), atol=tolerance)


@pytest.mark.parametrize("n_channels", range(1, 9))
def test_channels_are_mixed_by_their_mean(n_channels: int, tmp_path: Path) -> None:
    samples = np.random.default_rng(n_channels).uniform(-0.5, 0.5, (1000, n_channels))
    path = _write(tmp_path / "x.wav", samples, subtype="FLOAT")
    np.testing.assert_allclose(decode(path, RATE_HZ), samples.mean(axis=1), atol=1e-6)
    assert probe(path).n_channels == n_channels


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_a_tone_keeps_its_pitch_and_length_at_another_rate(rate_hz: int, tmp_path: Path) -> None:
    waveform = decode(_write(tmp_path / "x.wav", _sine(rate_hz, rate_hz), rate_hz, subtype="FLOAT"), RATE_HZ)
    assert len(waveform) == RATE_HZ
    middle = slice(1000, -1000)  # the filter rings at both ends
    np.testing.assert_allclose(waveform[middle], _sine()[middle], atol=1e-4)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 192_000])
def test_one_sample_in_gives_at_least_one_sample_out(rate_hz: int, tmp_path: Path) -> None:
    waveform = decode(_write(tmp_path / "x.wav", np.array([0.25]), rate_hz), RATE_HZ)
    assert len(waveform) >= 1
    assert np.isfinite(waveform).all()


@settings(max_examples=25, deadline=None)
@given(n_samples=st.integers(1, 3000), rate_hz=st.sampled_from([8_000, 16_000, 44_100, 192_000]))
def test_the_length_follows_the_rates_and_is_never_zero(
    tmp_path_factory: pytest.TempPathFactory, n_samples: int, rate_hz: int
) -> None:
    path = _write(tmp_path_factory.mktemp("decode") / "x.wav", _sine(n_samples, rate_hz), rate_hz)
    expected = n_samples * RATE_HZ / rate_hz
    assert max(1, expected - 1) <= len(decode(path, RATE_HZ)) <= expected + 1


def test_long_files_decode_in_blocks_to_the_same_samples(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (700_000, 2))  # more than one block of 2**20
    path = _write(tmp_path / "x.wav", samples, subtype="FLOAT")
    whole = soundfile.read(path, dtype="float32")[0].mean(axis=1)
    np.testing.assert_array_equal(decode(path, RATE_HZ), whole)


@pytest.mark.parametrize(
    "name", ["a b.wav", "🥁.wav", "line\nbreak.wav", 'it\'s "quoted".wav', os.fsdecode(b"caf\xe9.wav"), "-rf.wav", "no"]
)
def test_any_name_the_file_system_takes_can_be_read(name: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "plain.wav", _sine()).rename(tmp_path / name)
    assert len(decode(path, RATE_HZ)) == RATE_HZ
    assert probe(path).n_samples == RATE_HZ


def test_probe_reads_length_rate_and_channels_from_the_header(tmp_path: Path) -> None:
    info = probe(_write(tmp_path / "x.flac", np.zeros((22_050, 2)), 44_100))
    assert (info.duration_s, info.sample_rate_hz, info.n_channels, info.n_samples) == (0.5, 44_100, 2, 22_050)


def test_the_hash_is_that_of_the_bytes_and_not_of_the_name(tmp_path: Path) -> None:
    first, second = _bytes(tmp_path / "a.wav", b"abc"), _bytes(tmp_path / "b.ogg", b"abc")
    assert hash_file(first) == hash_file(second) == "cf4ab791c62b8d2b2109c90275287816"  # b2sum --length=128
    assert hash_file(_bytes(tmp_path / "c.wav", b"abd")) != hash_file(first)


def test_several_rates_of_one_reading_are_what_each_is_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "a.wav", _sine(6_615, 22_050), 22_050)
    alone = {rate_hz: decode(path, rate_hz) for rate_hz in (16_000, 22_050, 48_000)}
    n_opened = 0

    def count(*arguments):
        nonlocal n_opened
        n_opened += 1
        return open_file(*arguments)

    monkeypatch.setattr("pipeline.decode.open_file", count)
    together, duration_s = decode_each(path, alone)
    assert n_opened == 1
    assert duration_s == pytest.approx(0.3)
    assert list(together) == list(alone)
    for rate_hz, waveform in alone.items():
        np.testing.assert_array_equal(together[rate_hz], waveform)
