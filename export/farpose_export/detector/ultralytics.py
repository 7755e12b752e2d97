"""Ultralytics weights, through their own package.

`ultralytics` is licensed AGPL-3.0, and so are the weights its makers publish, unless you hold
another licence of theirs. It is imported here, when such a file is exported, and nowhere else in
Farpose.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from farpose_export.detector.network import Detections, DetectorError, Network
from farpose_training.detection.export import OPSET

LICENSE: Final = "AGPL-3.0 (Ultralytics), unless you hold another licence of theirs"

NMS_IOU: Final = 0.7
"""Ultralytics' own setting for predictions."""

COMPARED_SCORE: Final = 0.05
"""Least score of the original's predictions."""

ENVIRONMENT: Final = {
    "YOLO_AUTOINSTALL": "false",  # it would install packages into this environment
    "YOLO_OFFLINE": "true",  # no update checks and no usage reports
    "YOLO_VERBOSE": "false",
}


def read_ultralytics(path: Path) -> Network:
    """A network from a `.pt` file of Ultralytics.

    Such a file is a pickle: load only those you trust.

    Raises:
        DetectorError: the package is not installed, the file is no detector, or knows no person.
    """
    if not path.is_file():
        raise DetectorError(f"{path}: no such file")
    with tempfile.TemporaryDirectory(prefix="farpose-ultralytics-") as folder:
        yolo = _open(path, Path(folder))
        if yolo.task != "detect":
            raise DetectorError(f"{path}: a model for {yolo.task}, not for detection")
        people = [index for index, name in yolo.names.items() if name == "person"]
        if not people:
            names = ", ".join(list(yolo.names.values())[:5])
            raise DetectorError(f"{path}: has no class 'person'; its classes are {names}, ...")
        # YOLO10 and YOLO26 have a second head that needs no suppression; it is used where it is.
        end_to_end = getattr(yolo.model.model[-1], "one2one_cv2", None) is not None
        graph = _export(path, Path(folder), end_to_end)
    facts = {
        "source_weights": path.name,
        "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "license": LICENSE,
    }
    return Network(
        graph,
        "end_to_end" if end_to_end else "dense",
        people[0],
        _Predictor(yolo, people[0], end_to_end),
        NMS_IOU,
        facts=facts,
    )


def _open(path: Path, folder: Path) -> Any:
    os.environ.update(ENVIRONMENT)
    # Its settings file would otherwise be written into the user's home.
    os.environ.setdefault("YOLO_CONFIG_DIR", str(folder))
    try:
        from ultralytics import YOLO
    except ImportError as error:
        raise DetectorError(
            f"{path}: Ultralytics weights need their package, which is licensed AGPL-3.0 and not "
            "part of Farpose: pip install --no-deps ultralytics ultralytics-thop py-cpuinfo "
            f"({error})"
        ) from error
    try:
        return YOLO(str(path))
    except Exception as error:
        raise DetectorError(f"{path}: not weights that Ultralytics can read ({error})") from error


def _export(path: Path, folder: Path, end_to_end: bool) -> onnx.ModelProto:
    """Ultralytics' own ONNX export, made of a copy, as it writes beside its source."""
    from ultralytics import YOLO

    copy = folder / "weights.pt"
    shutil.copyfile(path, copy)
    written = YOLO(str(copy)).export(
        format="onnx",
        dynamic=True,
        simplify=False,
        opset=OPSET,
        device="cpu",
        **_head(end_to_end),
    )
    return onnx.load(str(written))


def _head(end_to_end: bool) -> dict[str, bool]:
    """Ultralytics' setting for the head without suppression; others have no such setting."""
    return {"nms": False} if end_to_end else {}


class _Predictor:
    """Ultralytics' predictions of a picture that is letterboxed already."""

    def __init__(self, yolo: Any, person: int, end_to_end: bool) -> None:
        self._yolo = yolo
        self._settings = {"classes": [person], **_head(end_to_end)}

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        (result,) = self._yolo.predict(
            tensor,
            **self._settings,
            conf=COMPARED_SCORE,
            iou=NMS_IOU,
            device="cpu",
            verbose=False,
        )
        scores = result.boxes.conf.numpy()
        order = np.argsort(-scores, kind="stable")
        return Detections(result.boxes.xyxy.numpy()[order], scores[order])
