"""`farpose models`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from farpose_training.complexity import complexity
from farpose_training.config import ModelConfig


@dataclass(frozen=True)
class Architecture:
    """A row of the table."""

    name: str
    backbone: dict[str, Any]
    head: dict[str, Any]
    resolution: int
    joints: int = 16
    """MPII's; 17 are COCO's."""

    part: str = ""


def _hrnet(name: str) -> dict[str, Any]:
    return {"kind": "timm", "name": f"hrnet_{name}"}


def _resnet(depth: int) -> dict[str, Any]:
    return {"kind": "resnet", "depth": depth}


def _simcc(split_factor: int) -> dict[str, Any]:
    return {"kind": "simcc", "split_factor": split_factor}


def _joints(name: str) -> int:
    """Of the set that the paper trains this network on."""
    return 17 if name == "HRNet-W48" else 16


BACKBONES: Final = {
    "HRNet-W18-small": _hrnet("w18_small"),
    "HRNet-W18": _hrnet("w18"),
    "HRNet-W32": _hrnet("w32"),
    "HRNet-W48": _hrnet("w48"),
    "ResNet-50": _resnet(50),
    "ResNet-152": _resnet(152),
}
HEATMAP: Final = {"kind": "heatmap"}

ARCHITECTURES: Final = (
    *(
        Architecture(f"{name} SimCC", backbone, _simcc(k), size, joints=_joints(name))
        for size, k in ((32, 2), (64, 3))
        for name, backbone in BACKBONES.items()
    ),
    *(
        Architecture(f"{name} SimCC", BACKBONES[name], _simcc(k), 256, joints=_joints(name))
        for name, k in (("HRNet-W32", 2), ("HRNet-W32", 3), ("HRNet-W48", 3))
    ),
    *(
        Architecture(f"{name} heatmap", backbone, HEATMAP, 64)
        for name, backbone in BACKBONES.items()
    ),
    Architecture(
        "HRNet-W18-small, backbone alone", _hrnet("w18_small"), HEATMAP, 64, part="backbone"
    ),
)
"""Every architecture at the sizes it is trained at, and the teachers.

Two of the published numbers stand for several rows. 9.493 is printed for the W32 teacher whatever
its `k`; by the paper's rule `k = 2` is 9.4934 and `k = 3` is 9.4935, which rounds to 9.494. 1.285 M
parameters are those of the HRNet-W18-small backbone, which alone is 0.0475 GMACs; the 0.049 known
of it include a SimCC head of `k = 3`.
"""


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Parameters and multiply-adds of every architecture.

    `paper` is what the CDKD paper prints as GFLOPs; GMACs are what is really multiplied. The paper
    prints 9.493 for the HRNet-W32 teacher; with k 3 its rule gives 9.4935. A network cut from an
    ONNX file costs what that file costs and is not listed.
    """
    rows = [_row(architecture) for architecture in ARCHITECTURES]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    typer.echo(
        f"{'model':34} {'input':>5} {'k':>2} {'J':>2} {'params (M)':>10} {'paper':>8} {'GMACs':>8}"
    )
    for row in rows:
        typer.echo(
            f"{row['model']:34} {row['input']:>5} {row['split_factor'] or '':>2} "
            f"{row['joints']:>2} {row['parameters_millions']:>10.3f} "
            f"{row['paper_gflops']:>8.4f} {row['gmacs']:>8.4f}"
        )


def _row(architecture: Architecture) -> dict[str, Any]:
    config = ModelConfig.model_validate(
        {
            "backbone": architecture.backbone,
            "head": architecture.head,
            "resolution": architecture.resolution,
        }
    )
    cost = complexity(config, architecture.joints, architecture.part)
    return {
        "model": architecture.name,
        "input": architecture.resolution,
        "split_factor": architecture.head.get("split_factor"),
        "joints": architecture.joints,
        "parameters_millions": cost.millions,
        "paper_gflops": cost.paper_gflops,
        "gmacs": cost.gmacs,
    }
