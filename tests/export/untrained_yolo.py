"""Weights of Ultralytics' layout that nobody has trained, but which see many people.

`python untrained_yolo.py NAME PICTURES TARGET` builds a network from the configuration inside the
package, fits its batch norms to pictures, and scales the class scores so that some are high.
Trained weights cannot be had from a package registry.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import torch
from ultralytics import YOLO


def main(name: str, pictures: Path, target: Path) -> None:
    torch.manual_seed(0)
    frames = [cv2.imread(str(path))[:, :, ::-1] for path in sorted(pictures.glob("*.jpg"))[:8]]
    batch = torch.stack(
        [
            torch.from_numpy(cv2.resize(frame, (320, 320))).permute(2, 0, 1).float() / 255
            for frame in frames
        ]
    )
    yolo = YOLO(f"{name}.yaml")
    network, head = yolo.model, yolo.model.model[-1]
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5
    with torch.no_grad():
        for _ in range(10):
            network(batch)
    network.eval()
    branches = [b for heads in ("cv3", "one2one_cv3") for b in getattr(head, heads, None) or []]
    for fit in (fit_weights, fit_biases):
        for branch in branches:
            branch[-1].register_forward_hook(fit)
        with torch.no_grad():
            for end_to_end in (False, True):
                head.end2end = end_to_end
                network(batch)
        for branch in branches:
            branch[-1]._forward_hooks.clear()
    head.end2end = False
    network.names = {0: "person", **{index: f"class {index}" for index in range(1, 80)}}
    yolo.save(str(target))


def fit_weights(layer: torch.nn.Conv2d, _: object, logits: torch.Tensor) -> None:
    """Let a class's logits have a deviation of 1; files keep halves, so these are rounded first."""
    scale = 1 / logits.std((0, 2, 3))
    layer.weight.copy_((layer.weight * scale[:, None, None, None]).half())


def fit_biases(layer: torch.nn.Conv2d, _: object, logits: torch.Tensor) -> None:
    """Let a class's logits lie around -6, and those of people around -2."""
    layer.bias -= logits.mean((0, 2, 3)) + 6
    layer.bias[0] += 4


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
