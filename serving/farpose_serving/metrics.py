"""What the service counts and times, for Prometheus. Names and labels are API."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal, get_args

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from farpose.pipeline import DETECTOR, PoseResult

SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable that several workers have, who then count together in its folder."""

Reason = Literal[
    "newer", "stale", "overload", "rate", "deadline", "failed", "unavailable", "closed"
]
"""Why a picture was not answered: a newer one of its camera came, it was older than the last, there
was too much to do, its caller sent too many, it took too long, the service failed on it, its models
were away, or its stream ended before."""

Source = Literal["picture", "camera", "stream"]
"""How a picture came: posted, posted with `camera_id`, or over WS /stream."""

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PEOPLE: Final = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 100)
ITEMS: Final = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one application.

    Args:
        camera_labels: whether pictures are also counted by the names of cameras.
    """

    def __init__(self, *, camera_labels: bool = False) -> None:
        self.shared = SHARED_FOLDER in os.environ
        """Whether several processes count together."""

        own = self._registry = CollectorRegistry()
        self._requests = Histogram(
            "farpose_request_duration_seconds",
            "From the first byte of a request to the last of its answer.",
            ("method", "route", "status"),
            buckets=SECONDS,
            registry=own,
        )
        self._stages = Histogram(
            "farpose_stage_duration_seconds",
            "Parts of answering a picture; waiting for others counts.",
            ("stage",),
            buckets=SECONDS,
            registry=own,
        )
        self._people = Histogram(
            "farpose_people_per_frame", "People on a picture.", buckets=PEOPLE, registry=own
        )
        self._batches = Histogram(
            "farpose_batch_size",
            "Items that a model of this process ran at once.",
            ("model",),
            buckets=ITEMS,
            registry=own,
        )
        self._ages = Histogram(
            "farpose_frame_age_seconds",
            "From the arrival of a camera's picture to its answer.",
            buckets=SECONDS,
            registry=own,
        )
        self._frames = Counter(
            "farpose_frames",
            "Pictures that were answered, and whether the detector ran on them.",
            ("source", "detector"),
            registry=own,
        )
        self._dropped = Counter(
            "farpose_dropped_frames", "Pictures that were not.", ("reason",), registry=own
        )
        # They are there from the start: a rate does not see the step of a counter that appears.
        for reason in get_args(Reason):
            self._dropped.labels(reason)
        self._cameras = (
            Counter(
                "farpose_camera_frames",
                "Pictures of a camera that were answered.",
                ("camera",),
                registry=own,
            )
            if camera_labels
            else None
        )

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, registry=own, multiprocess_mode="livesum")

        self._queue = gauge("farpose_queue_depth", "Pictures that wait for their turn.")
        self._running = gauge("farpose_frames_running", "Pictures in work.")
        self._sessions = gauge("farpose_camera_sessions", "Cameras that have a session.")
        gauge("farpose_workers", "Processes that serve.").set(1)
        build = Gauge(
            "farpose_build_info",
            "1, labelled with the version.",
            ("version",),
            registry=own,
            multiprocess_mode="max",
        )
        build.labels(version("farpose")).set(1)
        if not self.shared:
            prometheus_client.ProcessCollector(registry=own)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has been answered.

        Args:
            method: of HTTP, one of a known set.
            route: its pattern, never the path.
            status: of HTTP.
            seconds: from its first byte to the last of the answer.
        """
        self._requests.labels(method, route, str(status)).observe(seconds)

    def frame(self, result: PoseResult, source: Source) -> None:
        """A picture has been answered.

        Args:
            result: its people, and milliseconds per stage.
            source: how it came.
        """
        for stage, milliseconds in result.timing_ms.items():
            self._stages.labels(stage).observe(milliseconds / 1e3)
        self._people.observe(len(result.people))
        self._frames.labels(source, "yes" if DETECTOR in result.models else "no").inc()

    def camera_frame(self, camera: str, age: float) -> None:
        """A camera's picture has been answered, so many seconds after its arrival."""
        self._ages.observe(age)
        if self._cameras is not None:
            self._cameras.labels(camera).inc()

    def dropped(self, reason: Reason, count: int = 1) -> None:
        """Pictures will never be answered."""
        self._dropped.labels(reason).inc(count)

    def batch(self, model: str, items: int) -> None:
        """A model has run."""
        self._batches.labels(model).observe(items)

    def load(self, *, waiting: int, running: int, cameras: int) -> None:
        """How much there is to do now.

        Args:
            waiting: pictures that wait for their turn.
            running: pictures in work.
            cameras: that have a session.
        """
        self._queue.set(waiting)
        self._running.set(running)
        self._sessions.set(cameras)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it; of all workers, where there are several."""
        registry = self._registry
        if self.shared:
            _forget_dead_workers(Path(os.environ[SHARED_FOLDER]))
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return prometheus_client.generate_latest(registry)


def _forget_dead_workers(folder: Path) -> None:
    """Gauges of processes that have ended say nothing of now."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            path.unlink(missing_ok=True)  # another worker may have been asked, too
