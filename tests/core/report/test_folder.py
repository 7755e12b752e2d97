from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from farpose.evaluation.dataset import DatasetError, PoseDataset
from farpose.evaluation.ignored import Ignored
from farpose.evaluation.report.folder import (
    ReportFolderError,
    check_labels,
    make_folder,
    some_pictures,
)


def test_a_folder_that_is_empty_or_not_there_is_used(tmp_path: Path):
    make_folder(tmp_path / "new" / "report")
    make_folder(tmp_path / "new" / "report")
    assert (tmp_path / "new" / "report").is_dir()


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ReportFolderError, match=r"the folder is not empty \(1 entries\)"):
        make_folder(tmp_path)
    with pytest.raises(ReportFolderError, match="is a file"):
        make_folder(tmp_path / "notes.txt")
    with pytest.raises(ReportFolderError, match="Not a directory"):
        make_folder(tmp_path / "notes.txt" / "report")


def test_labels_that_fit_their_pictures_pass(labelled: PoseDataset):
    check_labels(labelled)


def test_labels_of_pictures_of_another_size_are_refused(labelled: PoseDataset):
    path = labelled.pictures[1].path
    cv2.imwrite(str(path), np.zeros((160, 120, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"1\.png: is 120x160, but the annotations say 320x320"):
        check_labels(labelled)


def test_the_size_is_that_of_the_picture_as_it_is_shown(labelled: PoseDataset, tmp_path: Path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 320)).save(path, exif=exif)
    picture = replace(labelled.pictures[0], path=path, width=320, height=400)
    assert picture.read().shape == (400, 320, 3)
    check_labels(replace(labelled, pictures=(picture, labelled.pictures[1])))


def test_an_unreadable_picture_is_named(labelled: PoseDataset):
    labelled.pictures[0].path.write_bytes(b"not a picture")
    with pytest.raises(DatasetError, match=r"0\.png: not a readable picture"):
        check_labels(labelled)


@pytest.mark.parametrize(
    "box",
    [
        (400, 10, 500, 90),  # right of the picture
        (-90, 10, -20, 90),
        (10, 320, 50, 400),
        (np.nan, 10, 50, 90),
        (10, 10, np.inf, 90),
    ],
)
def test_a_box_outside_of_its_picture_is_refused(labelled: PoseDataset, box: tuple[float, ...]):
    labelled.boxes[1] = box
    with pytest.raises(DatasetError, match=r"1 people lie outside .* annotation 2 in 1\.png"):
        check_labels(labelled)


def test_a_sample_keeps_the_order_and_the_people(labelled: PoseDataset, repeat):
    many = repeat(labelled, 10)
    many.boxes[:, 0] += np.arange(20)
    sample, kept = some_pictures(many, 5, seed=2)
    assert len(kept) == len(sample.pictures) == 5
    assert list(kept) == sorted(kept)
    assert sample.pictures == tuple(many.pictures[i] for i in kept)
    assert np.array_equal(sample.boxes, many.boxes[kept])  # one person a picture, in order
    assert sample.picture_index.tolist() == [0, 1, 2, 3, 4]
    again, same = some_pictures(many, 5, seed=2)
    assert np.array_equal(same, kept) and np.array_equal(again.ids, sample.ids)
    assert not np.array_equal(some_pictures(many, 5, seed=3)[1], kept)


def test_a_sample_has_the_crowds_of_its_pictures(labelled: PoseDataset, repeat):
    many = repeat(labelled, 10)
    boxes = np.arange(80.0).reshape(20, 4)
    crowds = Ignored(np.arange(20), boxes, np.ones(20), np.ones(20, bool))
    sample, kept = some_pictures(replace(many, ignored=crowds), 5, seed=2)
    assert sample.ignored.picture_index.tolist() == [0, 1, 2, 3, 4]
    assert np.array_equal(sample.ignored.boxes, boxes[kept])


def test_a_sample_has_only_pictures_with_people(labelled: PoseDataset, repeat):
    many = repeat(labelled, 5).select(np.array([3, 7]))
    sample, kept = some_pictures(many, 1, seed=0)
    assert kept.tolist() in ([3], [7])
    assert len(sample) == 1
    whole, kept = some_pictures(many, 2, seed=0)
    assert whole is many and len(kept) == 10
