from __future__ import annotations

import pytest

from farpose.extras import how_to_install


@pytest.mark.parametrize(
    ("extras", "command"),
    [
        (["train"], "pip install '.[train]'"),
        (["serve", "archive"], "pip install '.[serve,archive]'"),
        # The extra itself would bring a second cv2.
        (["track"], "pip install --no-deps -r requirements/serve.txt"),
        (
            ["serve", "track", "watch"],
            "pip install --no-deps -r requirements/serve.txt && pip install '.[serve,watch]'",
        ),
    ],
)
def test_extras_are_installed_from_a_clone(extras: list[str], command: str):
    assert how_to_install(*extras) == f"in a clone of Farpose, {command}"
