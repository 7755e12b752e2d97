"""Reading what the annotation tool CVAT exports, and writing it as files that Farpose reads.

`python -m farpose_training.data.cvat` is the command; nothing here trains or needs torch.
"""

from farpose_training.data.cvat.annotations import CvatPerson, CvatPicture, to_coco
from farpose_training.data.cvat.coco import read_coco
from farpose_training.data.cvat.errors import CvatError
from farpose_training.data.cvat.export import Export, open_export
from farpose_training.data.cvat.holdout import held_out
from farpose_training.data.cvat.images_xml import read_xml
from farpose_training.data.cvat.labels import JointLabels, joint_of

__all__ = [
    "CvatError",
    "CvatPerson",
    "CvatPicture",
    "Export",
    "JointLabels",
    "held_out",
    "joint_of",
    "open_export",
    "read_coco",
    "read_xml",
    "to_coco",
]
