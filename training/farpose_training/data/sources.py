"""The labelled people of one source of a configuration."""

from __future__ import annotations

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.formats import load_annotated
from farpose_training.config import SourceConfig
from farpose_training.data.parts import part_of


def load_source(source: SourceConfig) -> PoseDataset:
    """The people of a source, or of the part of it that is wanted.

    Raises:
        DatasetError: see `load_annotated` and `part_of`.
    """
    return part_of(load_annotated(source.annotations, source.images, source.format), source.part)
