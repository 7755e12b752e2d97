"""Sends a picture to the model `pose_pipeline` of a Triton server and prints its people.

python clients/grpc/pose_sync.py street.jpg --url localhost:8001
python clients/grpc/pose_sync.py street.jpg --options '{"detector_size": 416}'

Nobody there is `0 people`, and no error.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pose_pipeline
from people import People, text
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

TIMEOUT = 60.0
"""Seconds to wait for an answer."""


def pose(url: str, picture: bytes, options: str) -> People:
    """The people of an encoded picture.

    Raises:
        InferenceServerException: the server is not there, or refuses the picture or the options.
    """
    with InferenceServerClient(url) as client:
        inputs = pose_pipeline.request(picture, options)
        result = client.infer(pose_pipeline.MODEL, inputs, client_timeout=TIMEOUT)
    return pose_pipeline.people(result)


def main() -> int:
    """Print the people; 1 if there is no answer."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("picture", type=Path, help="JPEG, PNG or WebP")
    parser.add_argument("--url", default="localhost:8001", help="HOST:PORT of the gRPC endpoint")
    parser.add_argument("--options", default="{}", metavar="JSON", help="options of the request")
    arguments = parser.parse_args()
    try:
        people = pose(arguments.url, arguments.picture.read_bytes(), arguments.options)
    except (InferenceServerException, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(text(people))
    return 0


if __name__ == "__main__":
    sys.exit(main())
