from __future__ import annotations

import pytest

from farpose.benchmarks.ray_scaling import Row, table


def test_speed_up_is_over_one_worker():
    rows = [
        Row(0, 1, 100, 1.0, 10.0, 90_000),
        Row(1, 1, 100, 2.0, 12.5, 90_000, 5.0),
        Row(2, 1, 100, 2.5, 6.5, 90_000, 5.1),
    ]
    alone, one, two = table(rows).splitlines()[2:]
    assert alone == "| without Ray | 1 | 100 |  | 1.0 | 10.0 | 10.0 | 1.25 |  | 900 |"
    assert one == "| 1 | 1 | 100 | 5.0 | 2.0 | 12.5 | 8.0 | 1.00 | 100% | 900 |"
    assert two == "| 2 | 1 | 100 | 5.1 | 2.5 | 6.5 | 15.4 | 1.92 | 96% | 900 |"
    assert rows[2].rate == pytest.approx(15.38, abs=0.01)


def test_without_one_worker_there_is_no_speed_up():
    assert table([Row(2, 1, 10, 1.0, 1.0, 500, 5.0)]).endswith("| 10.0 |  |  | 50 |")
