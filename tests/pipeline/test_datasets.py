"""Adapters, each on a small set in its dataset's own layout; the audio files are never read, so they need not exist."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets import ADAPTERS, ListedClip
from storage_schema.errors import InputError

TEST_DATA = Path(os.environ.get("TIMBREL_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def _text(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def _esc50(root: Path) -> None:
    _text(
        root / "meta" / "esc50.csv",
        "filename,fold,target,category,esc10,src_file,take\n"
        "5-9032-A-0.wav,5,0,dog,True,9032,A\n"
        "1-100032-A-0.wav,1,0,dog,True,100032,A\n"
        "1-100032-B-41.wav,1,41,chainsaw,True,100032,B\n",
    )


def _urbansound8k(root: Path) -> None:
    _text(
        root / "metadata" / "UrbanSound8K.csv",
        "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
        "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark\n"
        "100263-2-0-117.wav,100263,58.5,62.5,1,10,2,children_playing\n",
    )


def _fsd50k(root: Path) -> None:
    _text(
        root / "FSD50K.ground_truth" / "dev.csv",
        "fname,labels,mids,split\n"
        '64760,"Electric_guitar,Guitar,Music","/m/02sgy,/m/0342h,/m/04rlf",train\n'
        '16399,"Bark,Dog","/m/05tny_,/m/0bt9lr",val\n',
    )
    _text(root / "FSD50K.ground_truth" / "eval.csv", "fname,labels,mids\n37199,Laughter,/m/01j3sz\n")


def _csv(root: Path) -> None:
    _text(root / "metadata.csv", "path,labels\nb.wav,dog\na/a.wav,cat; indoors\n")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "esc50": _esc50,
    "urbansound8k": _urbansound8k,
    "fsd50k": _fsd50k,
    "csv": _csv,
    "general_midi": _csv,
    "folder": lambda root: [_text(root / "dog" / name, "") for name in ("b.wav", "a.wav")] and None,
}


def test_every_adapter_has_a_layout_in_these_tests() -> None:
    assert set(ADAPTERS) == set(LAYOUTS)


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_lists_its_clips_sorted_by_uri(name: str, tmp_path: Path) -> None:
    LAYOUTS[name](tmp_path)
    uris = [clip.uri for clip in ADAPTERS[name](tmp_path)]
    assert len(uris) >= 2
    assert uris == sorted(uris)


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_says_what_it_looked_for_in_a_root_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        ADAPTERS[name](tmp_path / "nowhere")


def test_esc50_gives_folds_and_keeps_cuts_of_one_recording_together(tmp_path: Path) -> None:
    _esc50(tmp_path)
    assert ADAPTERS["esc50"](tmp_path) == [
        ListedClip("audio/1-100032-A-0.wav", ("dog",), fold=1, source_group="100032"),
        ListedClip("audio/1-100032-B-41.wav", ("chainsaw",), fold=1, source_group="100032"),
        ListedClip("audio/5-9032-A-0.wav", ("dog",), fold=5, source_group="9032"),
    ]


def test_esc10_lists_its_400_recordings_which_are_all_there() -> None:
    root = TEST_DATA / "esc10"
    clips = ADAPTERS["esc50"](root)
    assert len(clips) == 400
    assert len({clip.labels for clip in clips}) == 10
    assert all((root / clip.uri).is_file() for clip in clips)


def test_urbansound8k_finds_a_clip_in_the_folder_of_its_fold(tmp_path: Path) -> None:
    _urbansound8k(tmp_path)
    assert ADAPTERS["urbansound8k"](tmp_path) == [
        ListedClip("audio/fold10/100263-2-0-117.wav", ("children_playing",), fold=10, source_group="100263"),
        ListedClip("audio/fold5/100032-3-0-0.wav", ("dog_bark",), fold=5, source_group="100032"),
    ]


def test_fsd50k_reads_its_val_as_validation_and_its_eval_as_test(tmp_path: Path) -> None:
    _fsd50k(tmp_path)
    assert ADAPTERS["fsd50k"](tmp_path) == [
        ListedClip("FSD50K.dev_audio/16399.wav", ("Bark", "Dog"), "validation"),
        ListedClip("FSD50K.dev_audio/64760.wav", ("Electric_guitar", "Guitar", "Music"), "train"),
        ListedClip("FSD50K.eval_audio/37199.wav", ("Laughter",), "test"),
    ]


def test_fsd50k_refuses_a_split_it_does_not_know(tmp_path: Path) -> None:
    _fsd50k(tmp_path)
    _text(tmp_path / "FSD50K.ground_truth" / "dev.csv", "fname,labels,mids,split\n1,Dog,/m/1,dev\n")
    with pytest.raises(InputError, match=r"line 2.*'dev'"):
        ADAPTERS["fsd50k"](tmp_path)


def test_a_folder_labels_clips_by_the_folder_they_lie_in(tmp_path: Path) -> None:
    for name in ("top.wav", "dog/a.FLAC", "pets/cat/b c.ogg", "dog/notes.txt", "dog/.hidden.wav", ".git/x.wav"):
        _text(tmp_path / name, "")
    assert ADAPTERS["folder"](tmp_path) == [
        ListedClip("dog/a.FLAC", ("dog",)),
        ListedClip("pets/cat/b c.ogg", ("cat",)),
        ListedClip("top.wav"),
    ]


def test_a_folder_lists_what_only_looks_like_audio(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "dangling.wav").symlink_to("nowhere")
    _text(tmp_path / "folder.wav" / "inside.wav", "")
    assert [clip.uri for clip in ADAPTERS["folder"](tmp_path)] == [
        "dangling.wav",
        "folder.wav",
        "folder.wav/inside.wav",
        "pipe.wav",
    ]


def test_a_folder_that_links_to_itself_is_listed_once(tmp_path: Path) -> None:
    _text(tmp_path / "dog" / "a.wav", "")
    (tmp_path / "dog" / "again").symlink_to(tmp_path)
    assert [clip.uri for clip in ADAPTERS["folder"](tmp_path)] == ["dog/a.wav"]


def test_a_name_that_is_no_utf8_is_listed_as_text_that_can_be_stored(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.wav")).touch()
    (tmp_path / "caf\N{LATIN SMALL LETTER E WITH ACUTE}.wav").touch()
    uris = [clip.uri for clip in ADAPTERS["folder"](tmp_path)]
    assert uris == ["caf\\xe9.wav", "caf\N{LATIN SMALL LETTER E WITH ACUTE}.wav"]
    assert all(uri.encode() for uri in uris)


def test_csv_reads_every_column_and_both_names_of_each(tmp_path: Path) -> None:
    text = "filename,label,split,fold,group,comment\n./a//b.wav, dog ;cat;dog,test,3,g1,loud\nc.wav,,,,,\n\n"
    expected = [ListedClip("a/b.wav", ("dog", "cat"), "test", 3, "g1"), ListedClip("c.wav")]
    path = _text(tmp_path / "list.csv", text)
    assert ADAPTERS["csv"](path) == expected
    assert ADAPTERS["csv"](path.rename(tmp_path / "metadata.csv").parent) == expected


def test_csv_takes_a_byte_order_mark_and_crlf(tmp_path: Path) -> None:
    path = _text(tmp_path / "x.csv", 'path,labels\r\n"odd, ""name"".wav",dog\r\n', encoding="utf-8-sig")
    assert ADAPTERS["csv"](path) == [ListedClip('odd, "name".wav', ("dog",))]


@pytest.mark.parametrize("uri", ["/etc/passwd", "../x.wav", "a/../../x.wav", "", "a\0.wav", ".."])
def test_csv_refuses_a_path_that_leaves_the_root_and_names_line_and_value(uri: str, tmp_path: Path) -> None:
    path = _text(tmp_path / "x.csv", f"path,labels\ngood.wav,dog\n{uri},dog\n")
    with pytest.raises(InputError) as caught:
        ADAPTERS["csv"](path)
    assert "line 3" in str(caught.value)
    assert repr(uri) in str(caught.value)


def test_csv_collects_every_problem_and_shows_the_first_ten(tmp_path: Path) -> None:
    path = _text(tmp_path / "x.csv", "path,labels,fold\n" + "a.wav,dog,one\n" * 12 + "b.wav,dog,1\n")
    with pytest.raises(InputError) as caught:
        ADAPTERS["csv"](path)
    message = str(caught.value)
    assert message.count("'one'") == 10
    assert "12 correction(s)" in message
    assert "and 2 more" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,labels\na,b\n", "path or filename"),
        ("path\na\n", "labels or label"),
        ("", "it has none"),
        ("path,labels\na.wav\n", "line 2"),
        ("path,labels\na.wav,dog,cat\n", "line 2"),
        ("path,labels,split\na.wav,dog,training\n", "'training'"),
        ("path,labels,fold\na.wav,dog,-1\n", "'-1'"),
        ("path,labels,fold\na.wav,dog,99999999999999999999\n", "whole number"),
        ('path,labels\n"a.wav,dog\n', "CSV"),
        ("path,labels\na.wav," + "x" * 200_000 + "\n", "field limit"),
    ],
)
def test_csv_says_what_is_wrong_with_a_malformed_file(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        ADAPTERS["csv"](_text(tmp_path / "x.csv", text))
    assert expected in str(caught.value)
    assert "x.csv" in str(caught.value)


def test_csv_refuses_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="UTF-8"):
        ADAPTERS["csv"](
            _text(tmp_path / "x.csv", "path,labels\ncaf\N{LATIN SMALL LETTER E WITH ACUTE}.wav,dog\n", "latin-1")
        )


def test_csv_refuses_a_device_and_a_pipe_without_opening_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (Path(os.devnull), tmp_path / "pipe.csv"):
        with pytest.raises(InputError, match="is no regular file"):
            ADAPTERS["csv"](path)


@given(st.text(max_size=30))
def test_no_uri_ever_leaves_the_root(uri: str) -> None:
    root = Path("/data/root")
    try:
        clip = ListedClip(uri)
    except InputError:
        return
    assert Path(os.path.normpath(root / clip.uri)).is_relative_to(root)
    assert Path(os.path.normpath(root / clip.uri)) != root
