"""`farpose watch`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from farpose.commands import watch_options as options
from farpose.options import PoseOptions
from farpose.watch.addresses import parse_sources, read_sources
from farpose.watch.agent import Agent, Watching, has_failed, stopped_by_signals, summary
from farpose.watch.capture import CaptureSettings
from farpose.watch.finders import EmbeddedSettings, Finders, embedded
from farpose.watch.outputs import Outputs, open_sinks
from farpose.watch.video import Timeouts, Transport
from farpose.watch.view import shown

logger = logging.getLogger("farpose.watch")


class WatchOptionError(ValueError):
    """Options that do not go together, or a file of secrets that cannot be read."""


def watch(
    sources: options.Sources = None,
    cameras: options.CamerasFile = None,
    timeout: options.TimeoutSeconds = 10.0,
    attempts: options.Attempts = 0,
    longest_pause: options.LongestPause = 30.0,
    rtsp_transport: options.RtspTransport = Transport.AUTO,
    every_frame: options.EveryFrame = False,
    url: options.Url = None,
    api_key_file: options.ApiKeyFile = None,
    repository: options.Repository = None,
    pose_model: options.PoseModel = None,
    detection_threshold: options.DetectionThreshold = None,
    keypoint_threshold: options.KeypointThreshold = None,
    detector_size: options.DetectorSize = None,
    detect_every: options.DetectEvery = None,
    no_smoothing: options.NoSmoothing = False,
    threads: options.Threads = None,
    output: options.Output = None,
    mqtt: options.Mqtt = None,
    mqtt_qos: options.MqttQos = 0,
    mqtt_ca: options.MqttCa = None,
    webhook: options.WebhookUrl = None,
    webhook_token_file: options.WebhookTokenFile = None,
    webhook_secret_file: options.WebhookSecretFile = None,
    only_people: options.OnlyPeople = False,
    interval: options.Interval = 0.0,
    queue: options.Queue = 256,
    no_view: options.NoView = False,
) -> None:
    """Watch cameras: find and follow their people, and hand them on as they are found."""
    texts = [*(sources or []), *(read_sources(cameras) if cameras else [])]
    if not texts:
        raise WatchOptionError("name a camera: an address, a file, or the number of a webcam")
    watching = Watching(
        parse_sources(texts),
        CaptureSettings(
            Timeouts(timeout, timeout),
            rtsp_transport,
            longest_pause=longest_pause,
            attempts=attempts,
            every_frame=every_frame,
        ),
        only_people,
        interval,
    )
    given = {
        "pose_model": pose_model,
        "detection_threshold": detection_threshold,
        "keypoint_threshold": keypoint_threshold,
        "detector_size": detector_size,
    }
    asked = PoseOptions.model_validate({k: v for k, v in given.items() if v is not None})
    here = {
        "--repository": repository,
        "--detect-every": detect_every,
        "--threads": threads,
        "--no-smoothing": no_smoothing or None,
    }
    if url is not None and (wrong := [name for name, value in here.items() if value is not None]):
        raise WatchOptionError(f"with --url the service decides: leave out {', '.join(wrong)}")
    if url is None and api_key_file is not None:
        raise WatchOptionError("--api-key-file goes with --url")
    finders: AbstractAsyncContextManager[Finders]
    if url is None:
        finders = embedded(
            EmbeddedSettings(asked, repository, threads, detect_every or 3, not no_smoothing)
        )
    else:
        key = _secret(api_key_file, "FARPOSE_API_KEY")
        finders = _service(url, key, asked.model_dump(exclude_unset=True), attempts)
    with_view = sys.stderr.isatty() and not no_view
    if not (output or mqtt or webhook) and not (with_view and sys.stdout.isatty()):
        output = "-"
    outputs = Outputs(
        lines=output,
        mqtt=mqtt,
        mqtt_qos=mqtt_qos,
        mqtt_ca=mqtt_ca,
        webhook=webhook,
        webhook_token=_secret(webhook_token_file, "FARPOSE_WEBHOOK_TOKEN"),
        webhook_secret=_secret(webhook_secret_file, "FARPOSE_WEBHOOK_SECRET"),
        queue=queue,
        keep_all=every_frame,
    )
    with _logged_to_stderr():
        failed = asyncio.run(_run(watching, finders, outputs, with_view))
    if failed:
        raise typer.Exit(1)


async def _run(
    watching: Watching,
    opening: AbstractAsyncContextManager[Finders],
    outputs: Outputs,
    with_view: bool,
) -> bool:
    """Watch until the end; whether something has failed."""
    sinks = open_sinks(outputs)
    async with opening as finders:
        agent = Agent(watching, finders, sinks)
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(stopped_by_signals(agent))
                if with_view:
                    await stack.enter_async_context(shown(agent, Console(stderr=True)))
                await agent.run()
        finally:
            for line in summary(agent):
                typer.echo(line, err=True)
        return has_failed(agent)


def _service(
    url: str, api_key: str | None, asked: dict[str, Any], attempts: int
) -> AbstractAsyncContextManager[Any]:
    try:
        from farpose.watch.service import ServiceSettings, serviced
    except ImportError as error:
        raise WatchOptionError(
            f"--url needs the package farpose-client ({error}): in a clone of Farpose, "
            "pip install ./clients/python"
        ) from error
    return serviced(ServiceSettings(url, api_key, asked, attempts))


def _secret(path: Path | None, variable: str) -> str | None:
    """What a file holds, or a variable of the environment; None if neither is given."""
    if path is None:
        return os.environ.get(variable) or None
    try:
        secret = path.read_text().strip()
    except UnicodeDecodeError:
        secret = ""
    if not secret:
        raise WatchOptionError(f"{path} holds no text")
    return secret


@contextmanager
def _logged_to_stderr() -> Iterator[None]:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
