"""Which outputs the user wants, and the sinks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from farpose.watch.addresses import redacted
from farpose.watch.sinks.lines import LinesFile
from farpose.watch.sinks.mqtt import Broker, MqttPublisher, QoS
from farpose.watch.sinks.queue import Delivery, Sink
from farpose.watch.sinks.webhook import Webhook

STDOUT: Final = "-"


@dataclass(frozen=True)
class Outputs:
    """Where records go."""

    lines: str | None = None
    """A file, or `-` for stdout."""

    mqtt: str | None = field(default=None, repr=False)
    mqtt_qos: int = 0
    mqtt_ca: Path | None = None
    webhook: str | None = field(default=None, repr=False)
    webhook_token: str | None = field(default=None, repr=False)
    webhook_secret: str | None = field(default=None, repr=False)
    queue: int = 256
    keep_all: bool = False
    """Whether a file of records is waited for, so that none is lost."""


def open_sinks(outputs: Outputs) -> list[Sink]:
    """The sinks, not started yet.

    Raises:
        LinesError, MqttError, WebhookError: an output is not given as one can be.
    """
    sinks = []
    if outputs.lines is not None:
        path = None if outputs.lines == STDOUT else Path(outputs.lines)
        delivery = LinesFile(path)
        name = "stdout" if path is None else str(path)
        sinks.append(Sink(name, delivery, outputs.queue, wait=outputs.keep_all))
    if outputs.mqtt is not None:
        broker = Broker.parse(outputs.mqtt)
        qos = cast("QoS", outputs.mqtt_qos)
        sinks.append(
            _told(
                redacted(outputs.mqtt),
                lambda says: MqttPublisher(broker, qos, outputs.mqtt_ca, says),
                outputs.queue,
            )
        )
    if outputs.webhook is not None:
        url = outputs.webhook
        secret = None if outputs.webhook_secret is None else outputs.webhook_secret.encode()
        sinks.append(
            _told(
                redacted(url),
                lambda says: Webhook(url, secret, outputs.webhook_token, says),
                outputs.queue,
            )
        )
    return sinks


def _told(name: str, make: Callable[[Callable[[str], None]], Delivery], size: int) -> Sink:
    """A sink whose delivery can say in what trouble it is."""
    sink: Sink | None = None

    def says(trouble: str) -> None:
        if sink is not None:
            sink.says(trouble)

    sink = Sink(name, make(says), size)
    return sink
