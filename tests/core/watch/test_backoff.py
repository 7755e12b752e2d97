"""Pauses between attempts."""

from __future__ import annotations

from farpose.watch.backoff import Backoff


def test_pauses_double_up_to_the_longest_and_differ():
    backoff = Backoff(first=0.5, longest=10)
    pauses = [backoff.failed() for _ in range(2000)]
    for pause, longest in zip(pauses, [0.5, 1, 2, 4, 8, 10, 10], strict=False):
        assert longest / 2 <= pause <= longest
    assert max(pauses) <= 10 and len(set(pauses)) > 1990
    backoff.succeeded()
    assert backoff.failures == 0 and backoff.failed() <= 0.5
