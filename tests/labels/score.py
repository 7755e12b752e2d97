"""Joint by joint, how the bundled models do on the demo picture against marks made by hand.

.venv/bin/python -m tests.labels.score
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import numpy as np

from clients.sample_picture import fetch
from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.keypoints import COCO17, LIMB_JOINTS
from farpose.people import People
from farpose.pipeline import PosePipeline
from farpose.repository import default_repository

RIGHT = 0.2
"""A joint is right within this part of the torso, left shoulder to right hip."""


def joint_errors(people: People) -> dict[str, dict[str, float]]:
    """Per person with a whole torso: joint to distance from its mark, in torsos."""
    labels = json.loads(Path(__file__).with_name("bus.json").read_text())["people"]
    errors = {}
    for name, marks in labels.items():
        if "right_hip" not in marks:
            continue
        x1, y1, x2, y2 = marks["box"]
        middles = (people.boxes[:, :2] + people.boxes[:, 2:]) / 2
        nearest = np.linalg.norm(middles - [(x1 + x2) / 2, (y1 + y2) / 2], axis=1).argmin()
        torso = np.linalg.norm(np.subtract(marks["left_shoulder"], marks["right_hip"]))
        found = people.keypoints[nearest, :, :2]
        errors[name] = {
            joint: float(np.linalg.norm(found[COCO17.index(joint)] - marks[joint]) / torso)
            for joint in LIMB_JOINTS
        }
    return errors


def main() -> None:
    """Print a Markdown table."""
    with tempfile.TemporaryDirectory() as folder, OnnxRuntimeEngine(default_repository()) as engine:
        picture = Path(folder) / "bus.jpg"
        fetch(picture)
        people = asyncio.run(PosePipeline(engine)(picture.read_bytes())).people
    errors = joint_errors(people)
    print("| joint | " + " | ".join(errors) + " |")
    print("|---" * (len(errors) + 1) + "|")
    for joint in LIMB_JOINTS:
        cells = [
            f"{e[joint]:.2f}" + ("" if e[joint] <= RIGHT else " wrong") for e in errors.values()
        ]
        print(f"| {joint.replace('_', ' ')} | " + " | ".join(cells) + " |")
    counts = [f"{sum(v <= RIGHT for v in e.values())} of 12" for e in errors.values()]
    print("| right | " + " | ".join(counts) + " |")


if __name__ == "__main__":
    main()
