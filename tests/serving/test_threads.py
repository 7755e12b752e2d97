"""The event loop looks things up itself: threads are for decoding and models."""

from __future__ import annotations

import http.client
from pathlib import Path

from tests.conftest import ROOT
from tests.service import Service
from tests.serving.test_command import FARPOSE


def threads(service: Service) -> set[str]:
    return {task.name for task in Path(f"/proc/{service.process.pid}/task").iterdir()}


def status(service: Service, method: str, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    try:
        connection.request(method, path, headers={"Content-Length": "0"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_requests_that_need_no_model_take_no_thread():
    with Service(FARPOSE, ROOT, until="live") as service:
        before = threads(service)
        assert status(service, "GET", "/health/ready") == 200
        assert status(service, "GET", "/models") == 200
        assert status(service, "GET", "/metrics") == 200
        assert status(service, "POST", "/pose?there_is_no_such_option=1") == 422
        # One that loaded the models may still have been ending.
        assert threads(service) <= before
