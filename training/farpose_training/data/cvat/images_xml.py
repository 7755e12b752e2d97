"""CVAT's own export "CVAT for images 1.1": an XML file with a `skeleton` of `points` per person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException, ElementTree

from farpose_training.data.cvat.annotations import Box, CvatPerson, CvatPicture
from farpose_training.data.cvat.errors import CvatError
from farpose_training.data.cvat.labels import JointLabels


def read_xml(
    text: bytes, source: str, labels: JointLabels, skeleton: str | None = None
) -> list[CvatPicture]:
    """The pictures and people of a file.

    Args:
        text: the file.
        source: what to call it in errors.
        labels: which labels become which joints.
        skeleton: read only the skeletons with this label; all of them if not given.

    Raises:
        CvatError: it is no such file, or a label is not known.
    """
    try:
        root = ElementTree.fromstring(text)
    except (ParseError, DefusedXmlException) as error:
        raise CvatError(f"{source}: not an XML file of CVAT ({error})") from error
    if root.tag != "annotations" or root.find("track") is not None:
        raise CvatError(
            f"{source}: not in the format 'CVAT for images 1.1'; export the task again in that "
            "format, which also has the tracks of a video picture by picture"
        )
    pictures = [_picture(element, source, labels, skeleton) for element in root.iter("image")]
    if not any(picture.people for picture in pictures):
        which = "skeletons" if skeleton is None else f"skeletons named {skeleton!r}"
        raise CvatError(f"{source}: there are no {which} in its {len(pictures)} pictures")
    return pictures


def _picture(
    element: Element, source: str, labels: JointLabels, skeleton: str | None
) -> CvatPicture:
    try:
        name = element.attrib["name"]
        return CvatPicture(
            name=name,
            width=int(element.attrib["width"]),
            height=int(element.attrib["height"]),
            people=tuple(_people(element, f"{source} {name}", labels, skeleton)),
            subset=element.get("subset", ""),
        )
    except KeyError as error:
        raise CvatError(f"{source}: an element lacks the attribute {error}") from error


def _people(
    picture: Element, source: str, labels: JointLabels, skeleton: str | None
) -> Iterator[CvatPerson]:
    boxes = _boxes_of_groups(picture)
    for element in picture.iter("skeleton"):
        if skeleton not in (None, element.attrib["label"]):
            continue
        points = element.findall("points")
        channels = labels.channels([point.attrib["label"] for point in points], source)
        joints = np.array([(*_position(p, source), _visibility(p)) for p in points]).reshape(-1, 3)
        box = boxes.get(element.get("group_id", "0"))
        yield CvatPerson.from_joints(joints, channels, len(labels.target), box)


def _boxes_of_groups(picture: Element) -> dict[str, Box]:
    """Boxes by group: the annotator groups a person's box with the skeleton, two by two."""
    boxes = [box for box in picture.iter("box") if float(box.get("rotation", "0")) == 0]
    count = Counter(element.get("group_id", "0") for element in (*boxes, *picture.iter("skeleton")))
    found: dict[str, Box] = {}
    for box in boxes:
        group = box.get("group_id", "0")
        if group != "0" and count[group] == 2:
            x1, y1, x2, y2 = (float(box.attrib[edge]) for edge in ("xtl", "ytl", "xbr", "ybr"))
            found[group] = (x1, y1, x2, y2)
    return found


def _position(point: Element, source: str) -> tuple[float, float]:
    text = point.attrib["points"]
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        raise CvatError(f"{source}: {text!r} is not one position x,y") from None
    return x, y


def _visibility(point: Element) -> int:
    if point.get("outside") == "1":
        return 0
    return 1 if point.get("occluded") == "1" else 2
