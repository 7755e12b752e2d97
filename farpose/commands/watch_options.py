"""The options of `farpose watch`, as Typer reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from farpose.watch.video import Transport

CAMERAS = "Cameras"
MODELS = "People"
OUTPUTS = "Outputs"

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE...",
        help="rtsp://, http:// and other addresses, files, /dev/video0 or 0; NAME=SOURCE names it.",
    ),
]
CamerasFile = Annotated[
    Path | None,
    typer.Option(
        "--cameras",
        help="A file with a SOURCE a line: nobody sees passwords in the list of processes.",
        rich_help_panel=CAMERAS,
    ),
]
TimeoutSeconds = Annotated[
    float,
    typer.Option(
        "--timeout",
        min=0.1,
        help="Seconds without an answer or a picture after which a camera is lost.",
        rich_help_panel=CAMERAS,
    ),
]
Attempts = Annotated[
    int,
    typer.Option(
        min=0,
        help="Give a camera up after so many failed attempts in a row; 0: never.",
        rich_help_panel=CAMERAS,
    ),
]
LongestPause = Annotated[
    float,
    typer.Option(
        min=0.1,
        help="Longest time between two attempts, in seconds; it begins with half a second.",
        rich_help_panel=CAMERAS,
    ),
]
RtspTransport = Annotated[
    Transport,
    typer.Option(
        help="How RTSP cameras send; auto: TCP where the camera can.", rich_help_panel=CAMERAS
    ),
]
EveryFrame = Annotated[
    bool,
    typer.Option(
        "--every-frame",
        help="Of files, every picture as fast as they are answered, instead of the newest at the "
        "file's own rate.",
        rich_help_panel=CAMERAS,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        metavar="http://HOST:PORT",
        help="Send the pictures to this service, instead of loading the models here.",
        rich_help_panel=MODELS,
    ),
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        help="A file with the service's key; or set FARPOSE_API_KEY.", rich_help_panel=MODELS
    ),
]
Repository = Annotated[
    Path | None,
    typer.Option(help="Model repository; the bundled one by default.", rich_help_panel=MODELS),
]
PoseModel = Annotated[
    str | None,
    typer.Option(help="A pose model of the repository, or auto.", rich_help_panel=MODELS),
]
DetectionThreshold = Annotated[
    float | None,
    typer.Option(
        min=0.05, max=1, help="Leave out people less sure than this.", rich_help_panel=MODELS
    ),
]
KeypointThreshold = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="Leave out joints less sure than this.", rich_help_panel=MODELS
    ),
]
DetectorSize = Annotated[
    int | None,
    typer.Option(
        min=128,
        max=1280,
        help="Longer side the detector sees, in pixels, a multiple of 32.",
        rich_help_panel=MODELS,
    ),
]
DetectEvery = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1000,
        help="The detector looks at least at every so many-th picture, 3 by default; not with "
        "--url, where the service says.",
        rich_help_panel=MODELS,
    ),
]
NoSmoothing = Annotated[
    bool,
    typer.Option("--no-smoothing", help="Leave joints as they are seen.", rich_help_panel=MODELS),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="CPU threads of a model's run.", rich_help_panel=MODELS),
]
Output = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|-",
        help="Append a JSON record a line to this file, or print them: what is done without an "
        "output, unless the view has the terminal.",
        rich_help_panel=OUTPUTS,
    ),
]
Mqtt = Annotated[
    str | None,
    typer.Option(
        metavar="mqtt[s]://HOST/TOPIC",
        envvar="FARPOSE_MQTT",
        help="Publish records to TOPIC/CAMERA.",
        show_envvar=False,
        rich_help_panel=OUTPUTS,
    ),
]
MqttQos = Annotated[
    int,
    typer.Option(
        min=0,
        max=2,
        help="0: at most once, 1: at least once, 2: exactly once.",
        rich_help_panel=OUTPUTS,
    ),
]
MqttCa = Annotated[
    Path | None,
    typer.Option(
        help="Certificates that the broker's is checked against; the system's by default.",
        rich_help_panel=OUTPUTS,
    ),
]
WebhookUrl = Annotated[
    str | None,
    typer.Option(
        "--webhook",
        metavar="URL",
        envvar="FARPOSE_WEBHOOK",
        help="POST every record there.",
        show_envvar=False,
        rich_help_panel=OUTPUTS,
    ),
]
WebhookTokenFile = Annotated[
    Path | None,
    typer.Option(
        help="A file with what is sent as Authorization: Bearer; or set FARPOSE_WEBHOOK_TOKEN.",
        rich_help_panel=OUTPUTS,
    ),
]
WebhookSecretFile = Annotated[
    Path | None,
    typer.Option(
        help="A file with the secret that signs records; or set FARPOSE_WEBHOOK_SECRET.",
        rich_help_panel=OUTPUTS,
    ),
]
OnlyPeople = Annotated[
    bool,
    typer.Option(
        "--only-people",
        help="No records of pictures that nobody is in.",
        rich_help_panel=OUTPUTS,
    ),
]
Interval = Annotated[
    float,
    typer.Option(
        min=0, help="Seconds between two records of a camera at least.", rich_help_panel=OUTPUTS
    ),
]
Queue = Annotated[
    int,
    typer.Option(
        min=1,
        max=100_000,
        help="Records that wait for a slow output; then the oldest are lost, and counted.",
        rich_help_panel=OUTPUTS,
    ),
]
NoView = Annotated[
    bool, typer.Option("--no-view", help="Lines of text instead of the view on a terminal.")
]
