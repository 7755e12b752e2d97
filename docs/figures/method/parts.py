"""What is trained and what is exported: the parts, their shapes and their weights, all counted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from subject import COLORS, STUDENT, TEACHER, seen_by
from torch import nn

from farpose_training.config import DistillationConfig, EasyToHardConfig, SapeConfig
from farpose_training.distillation.teacher import TeacherShape
from farpose_training.objective import Objective

MANY = 10_000
"""Numbers from here on are written in millions."""


@dataclass(frozen=True)
class Part:
    """A box of the figure, in a grid of columns (to the right) and rows (upwards)."""

    column: float
    row: float
    text: str
    color: str
    exported: bool = False
    """The student's own boxes are filled."""

    width: float = 1.7
    height: float = 0.78


def _count(module: nn.Module | None) -> str:
    weights = sum(p.numel() for p in module.parameters()) if module is not None else 0
    if weights >= MANY:
        return f"{weights / 1e6:.2f} M weights"
    return {0: "no weights", 1: "1 weight"}.get(weights, f"{weights} weights")


def _feature(channels: int, cells: int) -> str:
    return f"feature\n{channels} x {cells} x {cells}"


def training_parts() -> Figure:
    """The teacher above, the student below, and what is between them only while training."""
    student, teacher = seen_by(STUDENT).network.model, seen_by(TEACHER).network.model
    shape = TeacherShape.of(teacher)
    config = DistillationConfig(
        teacher=TEACHER, feature=SapeConfig(), temperature=EasyToHardConfig(kind="etht")
    )
    objective = Objective(student, config, shape)
    own = student.config
    bins = own.resolution * own.head.split_factor
    cells = own.input_size // 4
    teacher_side, teacher_color = shape.resolution, COLORS["teacher"]
    student_color, between = COLORS["student"], COLORS["other"]

    crop = f"crop\n{own.resolution}x{own.resolution}"
    wide = f"the same person\n{teacher_side}x{teacher_side}"
    parts = {
        "T": Part(0, 2, wide, teacher_color),
        "TB": Part(2, 2, f"teacher, frozen\n{_count(teacher.backbone)}", teacher_color),
        "TF": Part(4, 2, _feature(shape.channels, shape.cells), teacher_color),
        "TH": Part(6, 2, f"bins\n2 x {shape.bins} a joint", teacher_color),
        "SAPE": Part(4, 1, f"SAPE\n{_count(objective.feature)}", between),
        "CCA": Part(6, 1, f"CCA, m = {shape.bins // bins}\n{_count(objective.logit)}", between),
        "ETHT": Part(8, 1, f"ETHT\n{_count(objective.adversary)}", between, width=1.4),
        "S": Part(0, 0, crop, student_color, exported=True),
        "SB": Part(2, 0, f"student\n{_count(student.backbone)}", student_color, exported=True),
        "SF": Part(
            4,
            0,
            _feature(student.backbone.channels, cells),
            student_color,
            exported=True,
        ),
        "SH": Part(
            6, 0, f"bins\n2 x {bins} a joint\n{_count(student.head)}", student_color, exported=True
        ),
        "OUT": Part(8, 0, "keypoints", student_color, exported=True, width=1.4),
    }
    figure = Figure(figsize=(8.2, 3.0), layout="constrained")
    axes = figure.add_subplot()
    axes.axhspan(-0.72, 0.5, color=student_color, alpha=0.07, linewidth=0)
    axes.text(-0.85, -0.69, "exported", color=student_color, fontsize=8, va="bottom")
    axes.text(-0.85, 0.53, "training only", color=between, fontsize=8, va="bottom")
    for chain in (("T", "TB", "TF", "TH"), ("S", "SB", "SF", "SH", "OUT")):
        for first, second in pairwise(chain):
            _arrow(axes, parts[first], parts[second], parts[first].color)
    for first, second in (("SF", "SAPE"), ("TF", "SAPE"), ("SH", "CCA"), ("TH", "CCA")):
        _arrow(axes, parts[first], parts[second], parts[first].color)
    _arrow(axes, parts["ETHT"], parts["CCA"], between)
    for part in parts.values():
        _box(axes, part)
    axes.set_xlim(-0.9, 8.75)
    axes.set_ylim(-0.72, 2.45)
    axes.axis("off")
    return figure


def _box(axes: Axes, part: Part) -> None:
    corner = (part.column - part.width / 2, part.row - part.height / 2)
    face = part.color if part.exported else "white"
    axes.add_patch(
        FancyBboxPatch(
            corner,
            part.width,
            part.height,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=face,
            edgecolor=part.color,
            linewidth=1.4,
        )
    )
    color = "white" if part.exported else "black"
    axes.text(part.column, part.row, part.text, ha="center", va="center", fontsize=7.2, color=color)


def _arrow(axes: Axes, first: Part, second: Part, color: str) -> None:
    sideways = first.row == second.row
    way = 1 if (second.column > first.column if sideways else second.row > first.row) else -1
    if sideways:
        start = (first.column + way * first.width / 2, first.row)
        end = (second.column - way * second.width / 2, second.row)
    else:
        start = (first.column, first.row + way * first.height / 2)
        end = (second.column, second.row - way * second.height / 2)
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.2})
