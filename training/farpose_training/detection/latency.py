"""Times the served detector against RTMDet's own file, in turns, on the CPU.

    python -m farpose_training.detection.latency --start rtmdet_nano.onnx \
        --model model_repository/person_detector/1/model.onnx --threads 2

Only the sessions are timed: RTMDet's gets its input already normalised, ours normalises in the
graph. The input is a 4:3 picture of noise, so suppression has little to do in either.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from farpose_training.detection.model import MEAN_RGB, STD_RGB

SIZES = (320, 416, 640)
WARM_UP = 5


def alternate(calls: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """Milliseconds of each call, run in turns so that a busy moment hits all of them."""
    for call in calls:
        for _ in range(WARM_UP):
            call()
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, spent in zip(calls, times, strict=True):
            begun = time.perf_counter()
            call()
            spent.append(1000 * (time.perf_counter() - begun))
    return times


def main(arguments: Sequence[str] | None = None) -> None:
    """Print median and least milliseconds of both, and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--start", type=Path, required=True, help="rtmdet_nano.onnx")
    parser.add_argument("--model", type=Path, required=True, help="exported person_detector")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args(arguments)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    start, model = (
        onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        for path in (options.start, options.model)
    )
    sys.stdout.write("| input | RTMDet ms (least) | person_detector ms (least) | ratio |\n")
    sys.stdout.write("|---|---|---|---|\n")
    for size in SIZES:
        rows = size * 3 // 4 // 32 * 32
        image = np.random.default_rng(0).integers(0, 255, (1, rows, size, 3), dtype=np.uint8)
        normal = ((image - np.array(MEAN_RGB)) / np.array(STD_RGB))[..., ::-1]
        planes = np.ascontiguousarray(normal.transpose(0, 3, 1, 2), dtype=np.float32)
        a, b = alternate(
            [
                lambda planes=planes: start.run(None, {"input": planes}),  # type: ignore[misc]
                lambda image=image: model.run(None, {"images": image}),  # type: ignore[misc]
            ],
            options.repeats,
        )
        ratio = np.median(b) / np.median(a)
        sys.stdout.write(
            f"| {size}x{rows} | {np.median(a):.1f} ({min(a):.1f}) | "
            f"{np.median(b):.1f} ({min(b):.1f}) | {ratio:.2f} |\n"
        )


if __name__ == "__main__":
    main()
