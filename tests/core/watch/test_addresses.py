"""Names and addresses; what is printed of an address has no credentials."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpose.watch.addresses import AddressError, Kind, parse_sources, read_sources, redacted


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://192.0.2.7/street", "rtsp://192.0.2.7/street"),
        ("rtsp://admin:pw@192.0.2.7:554/street", "rtsp://***@192.0.2.7:554/street"),
        ("rtsp://admin@192.0.2.7/a@b", "rtsp://***@192.0.2.7/a@b"),
        # A password with an at sign, a slash, a question mark, a hash.
        ("rtsp://admin:p@w@host/1", "rtsp://***@host/1"),
        ("rtsp://admin:p/w@host/1", "rtsp://***@host/1"),
        ("rtsp://admin:p?w@host/1", "rtsp://***@host/1"),
        ("rtsp://admin:p#w@host/1", "rtsp://***@host/1"),
        ("http://host:80/x@2x.ts", "http://host:80/x@2x.ts"),
        ("http://[2001:db8::1]:80/x", "http://[2001:db8::1]:80/x"),
        ("http://host/live?user=a&password=b&channel=1", "http://host/live?user=***&password=***&channel=1"),
        ("http://host/live?channel=1&access_token=b#c", "http://host/live?channel=1&access_token=***#c"),
        ("street.mp4", "street.mp4"),
    ],
)  # fmt: skip
def test_credentials_are_not_shown(address: str, shown: str):
    assert redacted(address) == shown


@given(st.text(st.characters(codec="ascii", exclude_characters="\n\r"), min_size=4), st.booleans())
def test_no_password_is_shown_whatever_is_in_it(password: str, port: bool):
    secret = f"Q{password}Q"
    host = "host:554" if port else "host"
    assert secret not in redacted(f"rtsp://admin:{secret}@{host}/street")


def test_names_come_from_addresses_and_are_unique(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("gate=1.mp4").touch()
    sources = parse_sources(
        [
            "gate=rtsp://admin:pw@192.0.2.7/street?a=b",
            "rtsp://admin:pw@192.0.2.7/street?a=b",
            "clips/yard.mp4",
            "other/yard.mp4",
            "0",
            "/dev/video1",
            "file:///srv/door.mp4",
            "gate=1.mp4",
        ]
    )
    assert [(source.name, source.kind) for source in sources] == [
        ("gate", Kind.NETWORK),
        ("192.0.2.7-street", Kind.NETWORK),
        ("yard", Kind.FILE),
        ("yard-2", Kind.FILE),
        ("video0", Kind.DEVICE),
        ("video1", Kind.DEVICE),
        ("door", Kind.FILE),
        ("gate-1", Kind.FILE),
    ]
    assert [sources[i].address for i in (0, 4, 6)] == [
        "rtsp://admin:pw@192.0.2.7/street?a=b",
        "/dev/video0",
        "/srv/door.mp4",
    ]
    assert "pw" not in repr(sources)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["gate=0", "gate=1"], "two sources have the name gate"),
        (["ftp://admin:pw@host/x"], r"ftp://\*\*\*@host/x: cameras are at http://, "),
        ([""], "a source is empty"),
    ],
)
def test_what_is_no_camera_is_refused(sources: list[str], message: str):
    with pytest.raises(AddressError, match=message):
        parse_sources(sources)


def test_a_file_of_sources_has_one_a_line(tmp_path: Path):
    path = tmp_path / "cameras.txt"
    path.write_text("# the street\ngate=rtsp://admin:p#w@host/1\n\n  0\n")
    assert read_sources(path) == ["gate=rtsp://admin:p#w@host/1", "0"]
    path.write_text("# nothing\n")
    with pytest.raises(AddressError, match="names no camera"):
        read_sources(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AddressError, match="no text file"):
        read_sources(path)
