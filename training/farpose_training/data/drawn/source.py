"""Drawn sources of a configuration as folders that can be read."""

from __future__ import annotations

from farpose_training.config.data import ProceduralSource, Source, SourceConfig, annotated
from farpose_training.data.drawn.writing import write_procedural


def materialised(source: Source) -> SourceConfig:
    """The annotated folder of a source; one that is drawn is written first if it is not there.

    Raises:
        DatasetError: the folder cannot be written, or holds what other settings drew.
    """
    if isinstance(source, ProceduralSource):
        write_procedural(source.folder, source.people, source.seed, source.heights)
    return annotated(source)
