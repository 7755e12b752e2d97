"""The client for code without asyncio."""

from __future__ import annotations

import ssl
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Final, Literal, Self, Unpack, overload

import httpx2

from farpose_client.backoff import NO_RETRIES, RETRIES, Backoff
from farpose_client.call import Call
from farpose_client.errors import FarposeError, ServiceUnavailableError
from farpose_client.many import in_order
from farpose_client.options import PictureOptions, PoseOptions, StreamOptions, query_of
from farpose_client.pictures import Channels, Picture, encoded
from farpose_client.requests import MODELS, READY, checked_concurrency, pose_query, pose_request
from farpose_client.results import Health, ModelInfo, PoseResult, health_of, models_of, result_of
from farpose_client.settings import POLL_SECONDS, UNSET, Settings, Unset
from farpose_client.stream import Stream

PIECE_BYTES: Final = 64 * 2**10
"""Of a body; between pieces the clock is looked at."""


class Client:
    """Calls a Farpose service; threads may share a client.

    Pictures by themselves are sent again when the service is away, restarts, or asks to come back
    later. Every error is a `FarposeError`.

    Args:
        url: such as `http://localhost:8080`.
        api_key: sent with every call, where the service asks for one.
        deadline: seconds that a call may take with all its tries and the pauses between them; None
            for no end. The service is told and stops working when nobody waits any more.
        timeout: seconds that one try may take.
        connect_timeout: seconds that connecting may take.
        retries: how often a call is tried and how long the pauses grow; `Retry-After` is respected.
            `NO_RETRIES` tries once.
        tls: for a certificate of your own; the system's authorities are trusted otherwise.
        headers: sent with every call, for a proxy that wants some.

    Raises:
        ValueError: an argument makes no sense.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        deadline: float | None = 60.0,
        timeout: float = 30.0,
        connect_timeout: float = 5.0,
        retries: Backoff = RETRIES,
        tls: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = Settings.of(
            url, api_key, deadline, timeout, connect_timeout, retries, tls, headers
        )
        self._http = httpx2.Client(**self._settings.http())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def pose(
        self,
        picture: Picture,
        *,
        channels: Channels = "RGB",
        quality: int | None = None,
        deadline: float | Unset | None = UNSET,
        **options: Unpack[PoseOptions],
    ) -> PoseResult:
        """Find the people of a picture and their keypoints.

        A picture with `camera_id` is sent again only if it has a `timestamp` and the service has
        surely not looked at it.

        Args:
            picture: a path, the bytes of a JPEG, PNG or WebP file, a NumPy array `[H,W,3]` or
                `[H,W]` uint8, or a PIL image. Arrays and images are sent as PNG, without loss.
            channels: order of an array's colours; OpenCV's is `BGR`.
            quality: send arrays and images as JPEG of that quality instead, 1 to 100.
            deadline: of this call, instead of the client's.
            **options: as in `PoseOptions`; None takes the service's default.

        Raises:
            BadImageError: it is no picture that the service reads.
            TooLargeError: it has too many bytes or pixels.
            InvalidOptionsError: an option is not there, not allowed, or goes not with another.
            UnauthorizedError: the API key is missing or wrong.
            StaleFrameError: a newer picture of the camera came first.
            UnsupportedError: the service cannot follow people.
            OverloadedError: the service has too much to do; `RateLimitedError`: this caller sends
                too many.
            ServiceUnavailableError: the service is not ready.
            DeadlineExceededError: there was no answer in time.
            ConnectionFailedError: the service cannot be reached or hung up.
            ServiceFailedError: a fault of the service.
            UnexpectedAnswerError: this is no Farpose service, or of a version that does not fit.
        """
        query = pose_query(options)
        return result_of(self._post(picture, channels, quality, deadline, query))

    def pose_image(
        self,
        picture: Picture,
        *,
        channels: Channels = "RGB",
        quality: int | None = None,
        deadline: float | Unset | None = UNSET,
        **options: Unpack[PoseOptions],
    ) -> bytes:
        """The picture with its people drawn on it by the service.

        A JPEG, or a PNG where a side is longer than JPEG allows. Arguments and errors are those of
        `pose`.
        """
        query = pose_query(options, drawn=True)
        return self._post(picture, channels, quality, deadline, query)

    @overload
    def pose_many(
        self,
        pictures: Iterable[Picture],
        *,
        concurrency: int = 4,
        errors: Literal["raise"] = "raise",
        channels: Channels = "RGB",
        quality: int | None = None,
        deadline: float | Unset | None = UNSET,
        **options: Unpack[PictureOptions],
    ) -> Generator[PoseResult, None, None]: ...

    @overload
    def pose_many(
        self,
        pictures: Iterable[Picture],
        *,
        concurrency: int = 4,
        errors: Literal["yield"],
        channels: Channels = "RGB",
        quality: int | None = None,
        deadline: float | Unset | None = UNSET,
        **options: Unpack[PictureOptions],
    ) -> Generator[PoseResult | FarposeError, None, None]: ...

    def pose_many(
        self,
        pictures: Iterable[Picture],
        *,
        concurrency: int = 4,
        errors: Literal["raise", "yield"] = "raise",
        channels: Channels = "RGB",
        quality: int | None = None,
        deadline: float | Unset | None = UNSET,
        **options: Unpack[PictureOptions],
    ) -> Generator[PoseResult | FarposeError, None, None]:
        """The people of many pictures, in order.

        Args:
            pictures: taken one by one: at most `2 * concurrency` are taken whose results have not
                been handed out, so memory has a bound.
            concurrency: pictures that are sent at once.
            errors: `raise` the first error, or `yield` it in the place of its result and go on.
            channels: see `pose`, as all that follow.
            quality: as JPEG.
            deadline: of each picture.
            **options: of all pictures; cameras go over `stream`.

        Raises:
            InvalidOptionsError: there is no such option.
            ValueError: `concurrency` is below 1.
        """
        query = query_of(options, PictureOptions)

        def one(picture: Picture) -> PoseResult | FarposeError:
            try:
                return result_of(self._post(picture, channels, quality, deadline, query))
            except FarposeError as error:
                if errors == "raise":
                    raise
                return error

        return in_order(pictures, one, checked_concurrency(concurrency))

    def stream(
        self, *, reconnect: bool | Backoff = False, **options: Unpack[StreamOptions]
    ) -> Stream:
        """One camera over `WS /stream`: its people keep their `track_id` from picture to picture.

        Args:
            reconnect: connect anew, for ever or as a `Backoff` says, when the connection is lost or
                the service restarts. The newest picture without a reply is then sent again, older
                ones count as dropped. It also waits for a service that is not there yet.
            **options: as in `StreamOptions`.

        Raises:
            InvalidOptionsError: there is no such option.
        """
        query = query_of(options, StreamOptions)
        return Stream(self._settings.handshake(), self._settings.book(reconnect), query)

    def models(self) -> tuple[ModelInfo, ...]:
        """The models that the service has, with their inputs, outputs, properties and skeletons.

        Raises:
            FarposeError: as `pose`.
        """
        return models_of(self._send(self._settings.call(MODELS)).content)

    def health(self) -> Health:
        """How the service is, asked once.

        A service that is away is an answer, no error.

        Raises:
            UnexpectedAnswerError: this is no Farpose service.
        """
        try:
            answer = self._send(self._settings.call(READY, retries=NO_RETRIES))
        except FarposeError as error:
            return Health.of(error)
        return health_of(answer.content)

    def ready(self) -> bool:
        """Whether pictures can be sent, asked once; see `health`."""
        return self.health().ready

    def wait_until_ready(self, timeout: float) -> None:
        """Return when pictures can be sent.

        Args:
            timeout: seconds to wait.

        Raises:
            ServiceUnavailableError: they cannot be sent by then.
            UnexpectedAnswerError: this is no Farpose service.
        """
        end = time.monotonic() + timeout
        while not (health := self.health()).ready:
            if time.monotonic() >= end:
                raise ServiceUnavailableError(f"Not ready after {timeout} s: {health.detail}")
            time.sleep(POLL_SECONDS)

    def _post(
        self,
        picture: Picture,
        channels: Channels,
        quality: int | None,
        deadline: float | Unset | None,
        query: Mapping[str, str],
    ) -> bytes:
        request = pose_request(encoded(picture, channels, quality), query)
        return self._send(self._settings.call(request, deadline)).content

    def _send(self, call: Call) -> httpx2.Response:
        while True:
            attempt = call.next_try()
            end = time.monotonic() + attempt.seconds
            content, headers = call.request.content, attempt.headers
            if content is not None:
                headers = {**headers, "Content-Length": str(len(content))}
            request = self._http.build_request(
                call.request.method,
                self._settings.url + call.request.path,
                params=call.request.query,
                content=None if content is None else _pieces(content, end),
                headers=headers,
                timeout=attempt.timeout,
            )
            try:
                return call.accepted(self._answer(request, end))
            except (httpx2.HTTPError, TimeoutError, FarposeError) as error:
                pause = call.pause(error)
            time.sleep(pause)

    def _answer(self, request: httpx2.Request, end: float) -> httpx2.Response:
        """A whole answer; the HTTP library has an end for each piece of it, and none for all."""
        response = self._http.send(request, stream=True)
        try:
            pieces = []
            for piece in response.iter_raw():
                _check_clock(end)
                pieces.append(piece)
        finally:
            response.close()
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            content=b"".join(pieces),
            request=request,
        )


def _pieces(content: bytes, end: float) -> Iterator[bytes]:
    for start in range(0, len(content), PIECE_BYTES):
        _check_clock(end)
        yield content[start : start + PIECE_BYTES]


def _check_clock(end: float) -> None:
    if time.monotonic() >= end:
        raise TimeoutError
