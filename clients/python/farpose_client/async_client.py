"""The client for asyncio."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from typing import Literal, Self, Unpack, overload

import httpx2

from farpose_client.async_many import in_order
from farpose_client.async_stream import AsyncStream
from farpose_client.backoff import NO_RETRIES, RETRIES, Backoff
from farpose_client.call import Call
from farpose_client.errors import FarposeError, ServiceUnavailableError
from farpose_client.options import PictureOptions, PoseOptions, StreamOptions, query_of
from farpose_client.pictures import Channels, Picture, encoded
from farpose_client.requests import MODELS, READY, checked_concurrency, pose_query, pose_request
from farpose_client.results import Health, ModelInfo, PoseResult, health_of, models_of, result_of
from farpose_client.settings import POLL_SECONDS, UNSET, Settings, Unset


class AsyncClient:
    """Calls a Farpose service from asyncio; one client for many calls at once.

    The arguments and the calls are those of `Client`.

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
        self._http = httpx2.AsyncClient(**self._settings.http())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def pose(
        self,
        picture: Picture,
        *,
        channels: Channels = "RGB",
        quality: int | None = None,
        deadline: float | Unset | None = UNSET,
        **options: Unpack[PoseOptions],
    ) -> PoseResult:
        """Find the people of a picture and their keypoints; see `Client.pose`."""
        query = pose_query(options)
        return result_of(await self._post(picture, channels, quality, deadline, query))

    async def pose_image(
        self,
        picture: Picture,
        *,
        channels: Channels = "RGB",
        quality: int | None = None,
        deadline: float | Unset | None = UNSET,
        **options: Unpack[PoseOptions],
    ) -> bytes:
        """The picture with its people drawn on it; see `Client.pose_image`."""
        query = pose_query(options, drawn=True)
        return await self._post(picture, channels, quality, deadline, query)

    @overload
    def pose_many(
        self,
        pictures: Iterable[Picture] | AsyncIterable[Picture],
        *,
        concurrency: int = 4,
        errors: Literal["raise"] = "raise",
        channels: Channels = "RGB",
        quality: int | None = None,
        deadline: float | Unset | None = UNSET,
        **options: Unpack[PictureOptions],
    ) -> AsyncGenerator[PoseResult, None]: ...

    @overload
    def pose_many(
        self,
        pictures: Iterable[Picture] | AsyncIterable[Picture],
        *,
        concurrency: int = 4,
        errors: Literal["yield"],
        channels: Channels = "RGB",
        quality: int | None = None,
        deadline: float | Unset | None = UNSET,
        **options: Unpack[PictureOptions],
    ) -> AsyncGenerator[PoseResult | FarposeError, None]: ...

    def pose_many(
        self,
        pictures: Iterable[Picture] | AsyncIterable[Picture],
        *,
        concurrency: int = 4,
        errors: Literal["raise", "yield"] = "raise",
        channels: Channels = "RGB",
        quality: int | None = None,
        deadline: float | Unset | None = UNSET,
        **options: Unpack[PictureOptions],
    ) -> AsyncGenerator[PoseResult | FarposeError, None]:
        """The people of many pictures, in order; see `Client.pose_many`.

        `pictures` may be an async iterable too.
        """
        query = query_of(options, PictureOptions)

        async def one(picture: Picture) -> PoseResult | FarposeError:
            try:
                return result_of(await self._post(picture, channels, quality, deadline, query))
            except FarposeError as error:
                if errors == "raise":
                    raise
                return error

        return in_order(pictures, one, checked_concurrency(concurrency))

    def stream(
        self, *, reconnect: bool | Backoff = False, **options: Unpack[StreamOptions]
    ) -> AsyncStream:
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
        return AsyncStream(self._settings.handshake(), self._settings.book(reconnect), query)

    async def models(self) -> tuple[ModelInfo, ...]:
        """The models that the service has; see `Client.models`."""
        return models_of((await self._send(self._settings.call(MODELS))).content)

    async def health(self) -> Health:
        """How the service is, asked once; see `Client.health`."""
        try:
            answer = await self._send(self._settings.call(READY, retries=NO_RETRIES))
        except FarposeError as error:
            return Health.of(error)
        return health_of(answer.content)

    async def ready(self) -> bool:
        """Whether pictures can be sent, asked once; see `Client.health`."""
        return (await self.health()).ready

    async def wait_until_ready(self, timeout: float) -> None:
        """Return when pictures can be sent; see `Client.wait_until_ready`."""
        end = time.monotonic() + timeout
        while not (health := await self.health()).ready:
            if time.monotonic() >= end:
                raise ServiceUnavailableError(f"Not ready after {timeout} s: {health.detail}")
            await asyncio.sleep(POLL_SECONDS)

    async def _post(
        self,
        picture: Picture,
        channels: Channels,
        quality: int | None,
        deadline: float | Unset | None,
        query: Mapping[str, str],
    ) -> bytes:
        if isinstance(picture, bytes):
            content = picture
        else:
            content = await asyncio.to_thread(encoded, picture, channels, quality)
        request = pose_request(content, query)
        return (await self._send(self._settings.call(request, deadline))).content

    async def _send(self, call: Call) -> httpx2.Response:
        while True:
            attempt = call.next_try()
            try:
                async with asyncio.timeout(attempt.seconds):
                    response = await self._http.send(
                        self._http.build_request(
                            call.request.method,
                            self._settings.url + call.request.path,
                            params=call.request.query,
                            content=call.request.content,
                            headers=attempt.headers,
                            timeout=attempt.timeout,
                        )
                    )
                return call.accepted(response)
            except (httpx2.HTTPError, TimeoutError, FarposeError) as error:
                pause = call.pause(error)
            await asyncio.sleep(pause)
