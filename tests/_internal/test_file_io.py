"""Files are written whole or not at all, into what is there, and read within bounds."""

import os
import stat
import threading
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital._internal.file_io import (
    NoJsonError,
    OddFileError,
    parsed_json,
    read_regular,
    written,
)
from opentelemetry_instrumentation_corevital.baselines.profile import ProfileError, read_profile
from opentelemetry_instrumentation_corevital.cli.output import whole_file


def write(path: Path, data: bytes = b"new") -> None:
    with written(path) as file:
        file.write(data)


def write_half(path: Path) -> None:
    with written(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt


def test_a_file_keeps_its_mode_and_a_new_one_follows_the_umask(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"old")
    kept.chmod(0o640)
    before = os.umask(0o027)
    try:
        write(kept)
        write(tmp_path / "made")
    finally:
        os.umask(before)
    assert (kept.read_bytes(), stat.S_IMODE(kept.stat().st_mode)) == (b"new", 0o640)
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "made"]


def test_what_raises_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("links", [1, 3])
def test_a_links_target_is_replaced_and_not_the_link(tmp_path: Path, links: int) -> None:
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    target.write_bytes(b"old")
    link = tmp_path / "link0"
    link.symlink_to(Path("folder", "target"))
    for number in range(1, links):
        link = tmp_path / f"link{number}"
        link.symlink_to(f"link{number - 1}")
    write(link)
    assert link.is_symlink()
    assert not target.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_link_to_nothing_makes_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("made")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "made").read_bytes() == b"new"


def test_no_name_that_can_be_foreseen_is_opened(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    for name in (".out.part", "out.part", ".out.tmp", f".out.{os.getpid()}.part"):
        (tmp_path / name).symlink_to(victim)
    write(tmp_path / "out")
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "out").read_bytes() == b"new"


def test_a_device_is_written_into() -> None:
    write(Path("/dev/null"))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with whole_file(Path("/dev/null")) as file:
        file.write("text")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_link_to_a_device_is_followed(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to("/dev/null")
    write(tmp_path / "null")
    assert (tmp_path / "null").is_symlink()
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write(pipe)
    reader.join(20)
    assert found == [b"new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "link"])
def test_an_open_descriptor_is_written_into(tmp_path: Path, name: str) -> None:
    """As `--out /dev/stdout > file`: a file that took its place would be one that nobody has open."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        shown = name.format(file.fileno())
        if name == "link":
            (tmp_path / "link").symlink_to(f"/proc/self/fd/{file.fileno()}")
            shown = str(tmp_path / "link")
        before = os.stat(path).st_ino
        write(Path(shown))
        assert os.stat(path).st_ino == before
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["", "folder", "folder/", "loop", "none/file", "file/below", "a\0b"])
def test_what_cannot_be_written_is_an_error_of_the_system(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(OSError), written(os.path.join(tmp_path, name) if name else "") as file:  # noqa: PT011
        file.write(b"new")
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_long_name_is_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127)
    write(path)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/zero", "a device"),
        ("folder", "a folder"),
        ("pipe", "a pipe"),
        ("large", "more than 1 KiB"),
        ("a\0b", "NUL"),
    ],
)
def test_only_a_regular_file_of_some_size_is_read(tmp_path: Path, path: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(1025))
    (tmp_path / "fits").write_bytes(bytes(1024))
    assert len(read_regular(tmp_path / "fits", 1024)) == 1024
    with pytest.raises(OddFileError, match=reason):
        read_regular(tmp_path / path, 1024)
    with pytest.raises(ProfileError, match=reason if path != "large" else "no JSON"):
        read_profile(tmp_path / path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b"1" * 5000, "an integer in it has thousands of digits"),
        (b'{"a": 1,\n ]', "no JSON at line 2, column 2"),
        (b"", "no JSON at line 1, column 1"),
        (b"\xff", "not UTF-8 at byte 0"),
    ],
)
def test_what_is_no_json_is_told_by_its_place(tmp_path: Path, text: bytes, reason: str) -> None:
    with pytest.raises(NoJsonError, match=reason):
        parsed_json(text)
    (tmp_path / "profile.json").write_bytes(text)
    with pytest.raises(ProfileError, match=reason):
        read_profile(tmp_path / "profile.json")
