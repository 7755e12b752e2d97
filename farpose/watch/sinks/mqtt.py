"""MQTT: every record is a message of its camera's topic."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from farpose.watch.addresses import redacted
from farpose.watch.records import Record
from farpose.watch.sinks.queue import LostError, Stopping

QoS = Literal[0, 1, 2]

KEEPALIVE: Final = 15
"""Seconds after which a broker that says nothing is asked whether it is there."""

IN_FLIGHT: Final = 20
"""Messages that the broker has not confirmed, at most; others wait in the queue."""

TICK: Final = 0.1
"""Seconds between two looks at whether the command ends."""

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


class MqttError(ValueError):
    """The broker's address is not one; the message has no credentials."""


@dataclass(frozen=True)
class Broker:
    """Where to publish."""

    host: str
    port: int
    tls: bool
    prefix: str
    """Of the topics; the camera's name follows after a slash."""

    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, address: str) -> Broker:
        """A broker from `mqtt[s]://[USER:PASSWORD@]HOST[:PORT]/PREFIX`; `MqttError`."""
        wanted = "--mqtt takes mqtt://HOST/TOPIC or mqtts://HOST/TOPIC"
        try:
            parts = urlsplit(address)
        except ValueError:
            raise MqttError(f"{redacted(address)}: {wanted}") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise MqttError(f"{redacted(address)}: {wanted}")
        prefix = unquote(parts.path).strip("/")
        if not prefix:
            raise MqttError(f"{redacted(address)}: name the topic: {wanted}")
        after_host = address.partition(parts.netloc)[2]
        if set(prefix + after_host) & set("+#?\0"):
            raise MqttError(f"{redacted(address)}: a topic that is published to has no + # ?")
        return cls(
            parts.hostname,
            _port(parts, address),
            parts.scheme == "mqtts",
            prefix,
            None if parts.username is None else unquote(parts.username),
            None if parts.password is None else unquote(parts.password),
        )


def _port(parts: SplitResult, address: str) -> int:
    try:
        return parts.port or _PORTS[parts.scheme]
    except ValueError:
        raise MqttError(f"{redacted(address)}: the port is no number below 65536") from None


class MqttPublisher:
    """Publishes records to `PREFIX/CAMERA`, and connects again when the broker is away.

    Args:
        broker: where to.
        qos: 0: at most once; 1: at least once; 2: exactly once.
        authority: certificates that the broker's is checked against, the system's if not given.
        says: told why nothing arrives, and with "" that it does again.

    Raises:
        MqttError: `authority` cannot be used.
    """

    def __init__(
        self, broker: Broker, qos: QoS, authority: Path | None, says: Callable[[str], None]
    ) -> None:
        self._broker = broker
        self._qos = qos
        self._says = says
        self._connected = threading.Event()
        self._confirmed = threading.Condition()
        self._unconfirmed = 0
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"farpose-{socket.gethostname()[:24]}-{os.getpid()}-{id(self) % 65536:x}",
        )
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            self._client.tls_set_context(_trusting(authority))
        self._client.max_inflight_messages_set(IN_FLIGHT)
        self._client.reconnect_delay_set(1, 30)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.connect_async(broker.host, broker.port, KEEPALIVE)
        self._client.loop_start()

    def deliver(self, record: Record, stopping: Stopping) -> None:
        """See `Delivery.deliver`."""
        topic = f"{self._broker.prefix}/{record.camera}"
        while True:
            self._until(self._connected.is_set, stopping)
            self._until(lambda: self._unconfirmed < IN_FLIGHT, stopping)
            with self._confirmed:
                self._unconfirmed += 1
            info = self._client.publish(topic, record.body, self._qos)
            if self._qos and info.rc != MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                return  # the client keeps it until the broker has confirmed it
            if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS and self._written(info, stopping):
                return
            with self._confirmed:
                self._unconfirmed -= 1
            stopping.wait(TICK)

    def finish(self, stopping: Stopping) -> int:
        """See `Delivery.finish`."""
        with suppress(LostError):  # they are counted
            self._until(lambda: not self._unconfirmed, stopping)
        missing = self._unconfirmed
        self._client.disconnect()
        # Its thread may sit in an attempt to connect.
        ending = threading.Thread(target=self._client.loop_stop, daemon=True)
        ending.start()
        ending.join(0.3)
        return missing

    def _written(self, info: MQTTMessageInfo, stopping: Stopping) -> bool:
        """Whether a message that nobody confirms has gone out before the connection was lost."""
        try:
            while not info.is_published():
                if stopping.wait(0):
                    raise LostError("the broker took no messages")
                info.wait_for_publish(TICK)
        except LostError:
            raise
        except RuntimeError:
            return False
        return True

    def _until(self, ready: Callable[[], bool], stopping: Stopping) -> None:
        while not ready():
            if stopping.wait(0):
                raise LostError("the command ended before the broker took it")
            with self._confirmed:
                self._confirmed.wait(TICK)

    def _on_connect(
        self, client: Client, data: Any, flags: Any, reason: ReasonCode, _: Properties | None
    ) -> None:
        if reason.is_failure:
            self._says(f"the broker refuses: {str(reason).lower()}")
        else:
            self._says("")
            self._connected.set()
            self._wake()

    def _on_connect_fail(self, client: Client, data: Any) -> None:
        self._connected.clear()
        detail = ""
        match sys.exception():  # paho calls from where it has caught it
            case ssl.SSLCertVerificationError() as error:
                detail = f": {error.verify_message}, see --mqtt-ca"
            case OSError(strerror=str() as words):
                detail = f": {words}"
        self._says(f"the broker cannot be reached{detail}")

    def _on_disconnect(
        self, client: Client, data: Any, flags: Any, reason: ReasonCode, _: Properties | None
    ) -> None:
        was_connected = self._connected.is_set()
        self._connected.clear()
        if was_connected and reason.is_failure:
            self._says(f"the broker is gone: {str(reason).lower()}")

    def _on_publish(
        self, client: Client, data: Any, mid: int, reason: ReasonCode, _: Properties | None
    ) -> None:
        with self._confirmed:
            self._unconfirmed -= 1
            self._confirmed.notify_all()

    def _wake(self) -> None:
        with self._confirmed:
            self._confirmed.notify_all()


def _trusting(authority: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise MqttError(f"--mqtt-ca {authority}: {error.strerror or 'no certificates'}") from None
