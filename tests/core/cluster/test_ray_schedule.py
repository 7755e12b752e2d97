from __future__ import annotations

from pathlib import Path

import pytest

from farpose.cluster.schedule import Place, Schedule

HERE, BESIDE, AWAY = Place(0, "one"), Place(1, "one"), Place(2, "two")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Of 1, 3 and 2 bytes, and one that is not there."""
    paths = [tmp_path / name for name in ("small", "large", "middle", "none")]
    for path, size in zip(paths, (1, 3, 2), strict=False):
        path.write_bytes(bytes(size))
    return paths


def test_the_largest_file_goes_first_and_each_goes_once(files: list[Path]):
    schedule = Schedule(files, attempts=3)
    assert [schedule.take(HERE, []) for _ in range(5)] == [1, 2, 0, 3, None]


def test_a_failed_file_goes_to_another_worker(files: list[Path]):
    schedule = Schedule(files[:1], attempts=3)
    assert schedule.take(HERE, [BESIDE]) == 0
    assert schedule.failed(0, HERE)
    assert schedule.take(HERE, [BESIDE]) is None
    assert schedule.take(BESIDE, [HERE]) == 0


def test_a_failed_file_comes_back_where_there_is_no_other_worker(files: list[Path]):
    schedule = Schedule(files[:1], attempts=3)
    for again in (True, True, False):
        assert schedule.take(HERE, []) == 0
        assert schedule.failed(0, HERE) is again
    assert schedule.take(HERE, []) is None


def test_a_failed_file_comes_back_once_every_worker_failed_on_it(files: list[Path]):
    schedule = Schedule(files[:1], attempts=3)
    for place, other in ((HERE, BESIDE), (BESIDE, HERE), (HERE, BESIDE)):
        assert schedule.take(place, [other]) == 0
        schedule.failed(0, place)
    assert schedule.take(BESIDE, [HERE]) is None


def test_a_file_out_of_reach_is_for_workers_on_other_machines(files: list[Path]):
    schedule = Schedule(files[:2], attempts=3)
    assert schedule.take(HERE, []) == 1
    schedule.unreachable(1, HERE)
    assert schedule.take(BESIDE, [HERE]) == 0
    assert schedule.take(BESIDE, []) is None
    assert schedule.take(AWAY, []) == 1


def test_what_nobody_can_reach_is_given_up(files: list[Path]):
    schedule = Schedule(files[:2], attempts=3)
    for number in (1, 0):
        assert schedule.take(HERE, []) == number
        schedule.unreachable(number, HERE)
    assert schedule.take(HERE, []) is None
    assert schedule.give_up() == [0, 1]
    assert schedule.take(AWAY, []) is None
