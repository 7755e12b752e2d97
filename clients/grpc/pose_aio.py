"""Sends several pictures at once to the model `pose_pipeline`, with asyncio, on one connection.

    python clients/grpc/pose_aio.py one.jpg two.jpg three.jpg --url localhost:8001

All pictures are under way together; they are printed in the order they were given. A picture that
is refused does not stop the others.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import pose_pipeline
from people import text
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

TIMEOUT = 60.0
"""Seconds to wait for an answer."""


async def pose(client: InferenceServerClient, path: Path, options: str) -> str | Exception:
    """What is printed about a picture, or why there is nothing to print."""
    try:
        inputs = pose_pipeline.request(path.read_bytes(), options)
        result = await client.infer(pose_pipeline.MODEL, inputs, client_timeout=TIMEOUT)
    except (InferenceServerException, OSError) as error:
        return error
    return text(pose_pipeline.people(result))


async def pose_all(url: str, paths: list[Path], options: str) -> bool:
    """Print the people of all pictures; whether every picture was answered."""
    answered = True
    async with InferenceServerClient(url) as client:
        answers = await asyncio.gather(*(pose(client, path, options) for path in paths))
    for path, answer in zip(paths, answers, strict=True):
        if isinstance(answer, Exception):
            print(f"error: {path}: {answer}", file=sys.stderr)
            answered = False
        else:
            print(f"{path}: {answer}")
    return answered


def main() -> int:
    """Print the people; 1 if a picture was not answered."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pictures", type=Path, nargs="+", help="JPEG, PNG or WebP")
    parser.add_argument("--url", default="localhost:8001", help="HOST:PORT of the gRPC endpoint")
    parser.add_argument("--options", default="{}", metavar="JSON", help="options of the requests")
    arguments = parser.parse_args()
    answered = asyncio.run(pose_all(arguments.url, arguments.pictures, arguments.options))
    return 0 if answered else 1


if __name__ == "__main__":
    sys.exit(main())
