"""What to type where a package is missing that only some of Farpose needs."""

from __future__ import annotations

from typing import Final

PINNED_TRACKING: Final = "pip install --no-deps -r requirements/serve.txt"


def how_to_install(*extras: str) -> str:
    """Commands for a clone, as Farpose is on no package index.

    Args:
        extras: of this distribution. What `track` needs comes from pins: its own requirements would
            install a second `cv2` over the first.
    """
    others = [extra for extra in extras if extra != "track"]
    command = f"pip install '.[{','.join(others)}]'" if others else ""
    pinned = PINNED_TRACKING if "track" in extras else ""
    return f"in a clone of Farpose, {' && '.join(filter(None, (pinned, command)))}"
