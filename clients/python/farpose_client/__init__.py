"""Calls a Farpose service: pictures and cameras in, people with keypoints out.

It needs nothing of the packages that serve, and imports none of them.
"""

from farpose_client.async_client import AsyncClient
from farpose_client.async_stream import AsyncStream
from farpose_client.backoff import NO_RETRIES, Backoff
from farpose_client.client import Client
from farpose_client.errors import (
    BadImageError,
    ConnectionFailedError,
    DeadlineExceededError,
    FarposeError,
    InvalidOptionsError,
    MissingPackageError,
    OverloadedError,
    Problem,
    RateLimitedError,
    ServiceFailedError,
    ServiceUnavailableError,
    StaleFrameError,
    TooLargeError,
    UnauthorizedError,
    UnexpectedAnswerError,
    UnreadableFileError,
    UnsupportedError,
)
from farpose_client.results import (
    Box,
    Health,
    ImageSize,
    Keypoint,
    ModelInfo,
    Person,
    PoseResult,
    Skeleton,
    StreamReply,
    Tensor,
    Variance,
)
from farpose_client.stream import Stream

__version__ = "0.1.0"

__all__ = [
    "NO_RETRIES",
    "AsyncClient",
    "AsyncStream",
    "Backoff",
    "BadImageError",
    "Box",
    "Client",
    "ConnectionFailedError",
    "DeadlineExceededError",
    "FarposeError",
    "Health",
    "ImageSize",
    "InvalidOptionsError",
    "Keypoint",
    "MissingPackageError",
    "ModelInfo",
    "OverloadedError",
    "Person",
    "PoseResult",
    "Problem",
    "RateLimitedError",
    "ServiceFailedError",
    "ServiceUnavailableError",
    "Skeleton",
    "StaleFrameError",
    "Stream",
    "StreamReply",
    "Tensor",
    "TooLargeError",
    "UnauthorizedError",
    "UnexpectedAnswerError",
    "UnreadableFileError",
    "UnsupportedError",
    "Variance",
]
