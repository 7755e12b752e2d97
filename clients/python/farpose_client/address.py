"""Where a service is, and who calls it."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def checked_url(url: str) -> str:
    """The address without a slash at its end; `ValueError` if it is none of a service."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"url: {url!r} is no address: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"url: {url!r} is not like http://localhost:8080")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"url: {parts.hostname}: give no query, fragment or user in the address")
    return url.rstrip("/")


def stream_url(url: str) -> str:
    """The address of a service's streams."""
    parts = urlsplit(url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit(parts._replace(scheme=scheme, path=f"{parts.path}/stream"))


def key_headers(api_key: str | None) -> dict[str, str]:
    """What says who calls; `ValueError` for what cannot be a key."""
    if api_key is None:
        return {}
    if not api_key.isascii() or not api_key.isprintable() or not api_key.strip():
        raise ValueError("api_key: a key is printable ASCII, as farpose new-key prints it")
    return {"Authorization": f"Bearer {api_key.strip()}"}
