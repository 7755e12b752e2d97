"""An export as CVAT gives it: a zip file, that file unpacked, or only its annotation file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

from farpose.sources import PICTURE_SUFFIXES
from farpose_training.data.cvat.annotations import CvatPicture
from farpose_training.data.cvat.coco import read_coco
from farpose_training.data.cvat.errors import CvatError
from farpose_training.data.cvat.images_xml import read_xml
from farpose_training.data.cvat.labels import JointLabels

IMAGES: Final = "images/"
"""Folder of the pictures in an export."""


@dataclass(frozen=True)
class Export:
    """The files of an export by name, with `/` between folders."""

    source: Path
    files: Mapping[str, Callable[[], bytes]]

    def pictures(self, labels: JointLabels, skeleton: str | None = None) -> list[CvatPicture]:
        """Every picture that an annotation file lists, named relative to the folder of pictures.

        Raises:
            CvatError: there is no annotation file, or one cannot be read.
        """
        found = [
            replace(picture, name=self._stored_name(picture).removeprefix(IMAGES))
            for name in sorted(self.files)
            for picture in self._read(name, labels, skeleton)
        ]
        if not found:
            raise CvatError(
                f"{self.source}: holds no annotation file; export the task from CVAT as "
                "'COCO Keypoints 1.0' or 'CVAT for images 1.1'"
            )
        return found

    def copy_pictures(self, pictures: list[CvatPicture], folder: Path) -> None:
        """Write the exported pictures into a folder, under the names that `pictures` gave.

        Raises:
            CvatError: the export lacks one, or a name leads out of the folder.
        """
        for picture in pictures:
            name = PurePosixPath(picture.name)
            read = self.files.get(IMAGES + picture.name) or self.files.get(picture.name)
            if read is None:
                raise CvatError(
                    f"{self.source}: has no picture {picture.name}; switch on 'Save images' when "
                    "you export, or leave --images out and use the folder you have"
                )
            if name.is_absolute() or ".." in name.parts:
                raise CvatError(f"{self.source}: the picture {picture.name} leads out of {folder}")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(read())

    def _read(self, name: str, labels: JointLabels, skeleton: str | None) -> list[CvatPicture]:
        source = str(self.source) if len(self.files) == 1 else f"{self.source}: {name}"
        match PurePosixPath(name).suffix.lower():
            case ".json":
                try:
                    content = json.loads(self.files[name]())
                except ValueError as error:
                    raise CvatError(f"{source}: not JSON ({error})") from error
                subset = PurePosixPath(name).stem.removeprefix("person_keypoints_")
                read = read_coco(content, source, labels, skeleton)
                return [replace(picture, subset=subset) for picture in read]
            case ".xml":
                return read_xml(self.files[name](), source, labels, skeleton)
        return []

    def _stored_name(self, picture: CvatPicture) -> str:
        """Where the export has a picture; its own name where the export has no such picture."""
        nested = f"{picture.subset}/{picture.name}"
        places = (IMAGES + nested, IMAGES + picture.name, nested, picture.name)
        return next((place for place in places if place in self.files), picture.name)


@contextmanager
def open_export(path: Path) -> Iterator[Export]:
    """Open a `.zip`, a folder, or a single `.json` or `.xml` file.

    Raises:
        CvatError: it is none of these.
    """
    if path.is_dir():
        files = {p.relative_to(path).as_posix(): p for p in sorted(path.rglob("*")) if p.is_file()}
        yield Export(path, {name: file.read_bytes for name, file in files.items() if _known(name)})
    elif path.suffix.lower() in (".json", ".xml") and path.is_file():
        yield Export(path, {path.name: path.read_bytes})
    elif path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = filter(_known, archive.namelist())
            yield Export(path, {name: partial(archive.read, name) for name in names})
    elif path.exists():
        raise CvatError(f"{path}: not an export of CVAT; give its .zip, .json or .xml file")
    else:
        raise CvatError(f"{path}: no such file or folder")


def _known(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in {".json", ".xml", *PICTURE_SUFFIXES}
