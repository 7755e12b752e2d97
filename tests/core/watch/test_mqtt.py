"""Records to a real broker, which goes away and comes back, with and without TLS."""

from __future__ import annotations

import contextlib
import gc
import json
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Self

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from farpose.watch.outputs import Outputs, open_sinks
from farpose.watch.sinks.mqtt import Broker, MqttError
from farpose.watch.sinks.queue import Sink
from tests.conftest import missing
from tests.core.watch.test_webhook import put, until

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")


class Mosquitto:
    """A broker whose users are `me` with the password `secret`, on a port that stays its own."""

    def __init__(self, folder: Path, *lines: str) -> None:
        if MOSQUITTO is None:
            missing("no mosquitto: apt install mosquitto")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        # mosquitto_passwd -H sha512-pbkdf2 -c users me
        (folder / "users").write_text("me:secret\n")
        subprocess.run(["mosquitto_passwd", "-U", folder / "users"], check=True)
        config = [f"listener {self.port} 127.0.0.1", f"password_file {folder / 'users'}", *lines]
        if subprocess.run(["id", "-u"], capture_output=True, check=True).stdout == b"0\n":
            config.append("user root")
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join(config) + "\n")

    def __enter__(self) -> Self:
        self.on()
        return self

    def __exit__(self, *exception: object) -> None:
        self.off()

    def on(self) -> None:
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", self._config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._listens)

    def off(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False


class Subscriber:
    """Somebody who takes everything of `farpose/`."""

    def __init__(self, port: int) -> None:
        self.got: list[tuple[str, int]] = []
        self.subscribed = False
        self._client = Client(CallbackAPIVersion.VERSION2, clean_session=True)
        self._client.username_pw_set("me", "secret")
        self._client.on_connect = lambda client, *_: client.subscribe("farpose/#", 1)
        self._client.on_subscribe = lambda *_: setattr(self, "subscribed", True)
        self._client.on_message = self._take
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)

    def _take(self, client, data, message) -> None:
        self.got.append((message.topic, json.loads(message.payload)["frame"]))

    def __enter__(self) -> Self:
        self._client.loop_start()
        until(lambda: self.subscribed)
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def frames(self) -> list[int]:
        return [frame for _, frame in self.got]


def sink_for(port: int, user: str = "me:secret", **outputs) -> Sink:
    scheme = "mqtts" if "mqtt_ca" in outputs else "mqtt"
    address = f"{scheme}://{user}@localhost:{port}/farpose/site-1"
    (sink,) = open_sinks(Outputs(mqtt=address, **outputs))
    sink.start()
    return sink


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_records_are_messages_of_their_cameras_topic(qos: int, tmp_path: Path):
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        sink = sink_for(broker.port, mqtt_qos=qos)
        put(sink, *range(60))
        until(lambda: len(subscriber.got) == 60)
        sink.close(2)
    assert subscriber.got == [("farpose/site-1/gate", number) for number in range(60)]
    assert (sink.delivered, sink.lost) == (60, 0)


@pytest.mark.parametrize("qos", [0, 1])
def test_a_broker_that_was_away_gets_what_has_waited_for_it(qos: int, tmp_path: Path, caplog):
    caplog.set_level("INFO", "farpose.watch")
    with Mosquitto(tmp_path) as broker:
        sink = sink_for(broker.port, mqtt_qos=qos, queue=40)
        put(sink, 0)
        until(lambda: sink.delivered == 1)
        broker.off()
        until(lambda: sink.trouble)
        put(sink, *range(1, 100))
        assert sink.waiting <= 40
        broker.on()
        with Subscriber(broker.port) as subscriber:
            put(sink, 100)
            until(lambda: 100 in subscriber.frames)
        sink.close(2)
    # Some may have gone out before the subscriber was there; what is lost are the oldest.
    got = [frame for frame in dict.fromkeys(subscriber.frames) if frame > 60]
    assert got == list(range(got[0], 101))
    assert sink.delivered + sink.lost == 101
    assert sink.lost <= 61
    told = caplog.text
    assert "the broker is gone" in told or "cannot be reached" in told
    assert "takes records again" in told
    assert "secret" not in told


def test_a_wrong_password_is_said_and_records_wait(tmp_path: Path):
    with Mosquitto(tmp_path) as broker:
        sink = sink_for(broker.port, user="me:wrong", queue=5)
        put(sink, *range(20))
        until(lambda: "refuses" in sink.trouble)
        assert sink.trouble == "the broker refuses: not authorized"
        assert sink.waiting <= 5
        sink.close(0.2)
    assert sink.lost == 20 and "wrong" not in sink.name


# paho leaves the socket of a handshake that has failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_with_tls_is_checked(tmp_path: Path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    with Mosquitto(tmp_path, f"certfile {certificate}", f"keyfile {key}") as broker:
        sink = sink_for(broker.port, mqtt_ca=certificate, mqtt_qos=1)
        put(sink, 1)
        until(lambda: sink.delivered == 1)
        sink.close(2)
        assert sink.lost == 0
        untrusting = sink_for(broker.port, mqtt_ca=None)
        until(lambda: untrusting.trouble)
        assert "certificate" in untrusting.trouble and "--mqtt-ca" in untrusting.trouble
        untrusting.close(0.1)
        until(lambda: not any("paho" in thread.name for thread in threading.enumerate()))
    gc.collect()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://me:secret@host/x", r"http://\*\*\*@host/x: --mqtt takes"),
        ("mqtt:///x", "--mqtt takes"),
        ("mqtt://[::1/x", "--mqtt takes"),
        ("mqtt://me:secret@host", "name the topic"),
        ("mqtt://host/a/#", r"has no \+ # \?"),
        ("mqtt://host/a/+/b", r"has no \+ # \?"),
        ("mqtt://host:99999/a", "the port is no number below 65536"),
    ],
)
def test_what_is_no_broker_is_refused(address: str, message: str):
    with pytest.raises(MqttError, match=message):
        Broker.parse(address)


def test_a_broker_is_read_from_its_address():
    broker = Broker.parse("mqtts://me:p%40ss@host/site/1/")
    assert broker == Broker("host", 8883, True, "site/1", "me", "p@ss")
    assert "p@ss" not in repr(broker)


def test_authorities_that_cannot_be_read_are_refused(tmp_path: Path):
    with pytest.raises(MqttError, match=r"--mqtt-ca .*No such file"):
        open_sinks(Outputs(mqtt="mqtts://host/x", mqtt_ca=tmp_path / "no.pem"))
