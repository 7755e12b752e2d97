"""Sends a picture to a running Farpose service, prints who is there, and saves the drawing.

    python clients/demo.py street.jpg --url http://localhost:8080 --output demo.png

Only the standard library is needed. The service answers drawings as JPEG; with Pillow installed
they are saved in the format of the output's name.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}

SURE = 0.2
"""Joints that score at least this are counted."""

TIMEOUT = 60.0
"""Seconds to wait for an answer."""


POLL = 0.2
"""Seconds between two looks at a service that is starting."""


class DemoError(RuntimeError):
    """The demo cannot go on; the message says why."""


def post(url: str, picture: bytes, media_type: str) -> tuple[bytes, str]:
    """The body and media type of the service's answer to a picture.

    Raises:
        DemoError: the service is not there, or refuses the picture.
    """
    request = urllib.request.Request(url, picture, {"Content-Type": media_type})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return response.read(), response.headers.get_content_type()
    except urllib.error.HTTPError as error:
        raise DemoError(f"{url} answered {error.code}: {_detail(error.read())}") from error
    except (urllib.error.URLError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise DemoError(f"{url} cannot be reached ({reason}); is `make run` running?") from error


def wait_until_ready(url: str, seconds: float) -> None:
    """Return when the service is ready; `DemoError` if it is not after that many seconds."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/health/ready", timeout=TIMEOUT):
                return
        except (urllib.error.URLError, ConnectionError) as error:
            if time.monotonic() > end:
                raise DemoError(f"{url} was not ready after {seconds:.0f} s") from error
            time.sleep(POLL)


def table(answer: dict[str, Any]) -> str:
    """The people of an answer, one per line."""
    size, people = answer["image"], answer["people"]
    count = "1 person" if len(people) == 1 else f"{len(people)} people"
    total = answer.get("timing_ms", {}).get("total")
    time = "" if total is None else f", {total:.0f} ms"
    lines = [f"{size['width']}x{size['height']} pixels: {count}{time}"]
    if people:
        lines.append(f"{'person':>6}  {'height':>7}  {'score':>5}  {'joints':>6}  left, top")
    for number, person in enumerate(people, 1):
        left, top, _, bottom = person["box"]
        keypoints = person["keypoints"]
        sure = f"{sum(score >= SURE for _, _, score in keypoints)}/{len(keypoints)}"
        lines.append(
            f"{number:>6}  {bottom - top:>4.0f} px  {person['score']:>5.2f}  "
            f"{sure:>6}  {left:.0f}, {top:.0f}"
        )
    return "\n".join(lines)


def save(drawing: bytes, media_type: str, output: Path) -> Path:
    """Write a drawing in the format of the output's name, or under the name of its own format."""
    if MEDIA_TYPES.get(output.suffix.lower()) != media_type:
        try:
            from PIL import Image
        except ImportError:
            output = output.with_suffix("." + media_type.removeprefix("image/"))
        else:
            Image.open(io.BytesIO(drawing)).save(output)
            return output
    output.write_bytes(drawing)
    return output


def demo(picture: Path, url: str, output: Path) -> tuple[str, Path]:
    """Save the drawing of a picture; the table of its people, and where the drawing is.

    Raises:
        DemoError: see `post`; or the file is no picture by its name.
        OSError: a file cannot be read or written.
    """
    media_type = MEDIA_TYPES.get(picture.suffix.lower())
    if media_type is None:
        raise DemoError(f"{picture}: use one of {', '.join(MEDIA_TYPES)}")
    content = picture.read_bytes()
    answer, _ = post(f"{url.rstrip('/')}/pose", content, media_type)
    drawing = post(f"{url.rstrip('/')}/pose?format=image", content, media_type)
    return table(json.loads(answer)), save(*drawing, output)


def main() -> int:
    """Run the demo; 1 if it could not be done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("picture", type=Path, help="JPEG, PNG or WebP")
    parser.add_argument("--url", default="http://localhost:8080", help="of the service")
    parser.add_argument("--output", type=Path, default=Path("demo.png"))
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="for a service that starts")
    arguments = parser.parse_args()
    try:
        if arguments.wait is not None:
            wait_until_ready(arguments.url, arguments.wait)
        people, drawing = demo(arguments.picture, arguments.url, arguments.output)
    except (DemoError, OSError, ValueError) as error:  # Pillow knows no format of that name
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(people)
    print(f"wrote {drawing}")
    return 0


def _detail(body: bytes) -> str:
    """What an `application/problem+json` answer says, or its first characters."""
    try:
        problem = json.loads(body)
        return str(problem.get("detail") or problem.get("title"))
    except (ValueError, AttributeError):
        return body[:200].decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
