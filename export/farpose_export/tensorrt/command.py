"""`farpose export-engine`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from farpose.engines.repository import newest_version, read_config
from farpose_export.tensorrt.engine import EngineSettings
from farpose_export.tensorrt.network import BuilderSettings
from farpose_export.tensorrt.publishing import publish_engine


def export_engine(
    model: Annotated[Path, typer.Argument(help="A model's folder in a repository of ONNX graphs.")],
    repository: Annotated[
        Path, typer.Option(help="The repository of engines to add it to; another one.")
    ],
    timing_cache: Annotated[
        Path | None,
        typer.Option(help="A file of kernel timings that later builds start from."),
    ] = None,
    tf32: Annotated[
        bool, typer.Option("--tf32", help="Let products of an fp32 graph be rounded to TF32.")
    ] = False,
) -> None:
    """Build the TensorRT engine of a model's newest version, on the GPU it will run on.

    No engine has been built on a GPU with this code so far, see docs/tensorrt.md.
    """
    config = read_config(model / "config.pbtxt")
    graph = newest_version(model, config).path
    settings = EngineSettings(builder=BuilderSettings(tf32=tf32), timing_cache=timing_cache)
    version, manifest = publish_engine(graph, repository, config, settings)
    typer.echo(
        f"{version}: {manifest.precision} for {manifest.gpu.name}, TensorRT {manifest.tensorrt}"
    )
