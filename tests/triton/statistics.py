"""What a Triton server counts, read once it has counted: it answers first."""

from __future__ import annotations

import time
from typing import Any

from tritonclient import grpc

COUNTED_SECONDS = 10


def counted(client: grpc.InferenceServerClient, model: str, requests: int) -> Any:
    """The statistics of a model as soon as so many requests are in them, or after a while."""
    end = time.monotonic() + COUNTED_SECONDS
    while True:
        (found,) = client.get_inference_statistics(model).model_stats
        if found.inference_stats.success.count >= requests or time.monotonic() > end:
            return found
        time.sleep(0.02)
