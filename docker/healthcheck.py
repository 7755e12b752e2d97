"""End with 0 if a URL answers with status 200, for images that have no curl.

    healthcheck.py http://127.0.0.1:$FARPOSE_PORT/health/ready

Variables of the environment are filled in.
"""

from __future__ import annotations

import os
import sys
import urllib.request

SECONDS = 4


def main(url: str) -> str | None:
    """What is wrong, or nothing."""
    # A proxy of the container is not asked for what is inside it.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(os.path.expandvars(url), timeout=SECONDS):
            return None
    except OSError as error:
        return f"{url}: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
