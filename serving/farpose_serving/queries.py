"""The query of `POST /pose`: `PoseOptions` and the form of the answer, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.datastructures import QueryParams

from farpose.options import PoseOptions
from farpose_serving.problems import INVALID_REQUEST, ProblemError, validation_detail

Options = TypeVar("Options", bound=PoseOptions)


class PoseQuery(PoseOptions):
    """Options of one request, and what to answer."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    camera_id: str | None = Field(None, pattern=r"^[\w.:-]{1,64}$")
    """Name of the camera the picture is from: its people keep their `track_id` from picture to
    picture. It belongs to the caller, who alone sees its people."""

    timestamp: float | None = Field(None, allow_inf_nan=False)
    """Seconds at which the camera took the picture, by any clock that goes with it; the arrival
    when not given. Only with `camera_id`."""

    format: Literal["json", "image"] = "json"
    """`json`, or `image` for the picture with the people drawn on it (a JPEG)."""

    @model_validator(mode="after")
    def _check_camera(self) -> Self:
        if self.camera_id is None and self.timestamp is not None:
            raise ValueError("timestamp goes with camera_id")
        if self.camera_id is not None and self.boxes is not None:
            raise ValueError("boxes cannot be given with camera_id, which follows people itself")
        return self


async def pose_query(request: Request) -> PoseQuery:
    """The query of a request.

    Raises:
        ProblemError: 422 for an unknown or repeated option or a value that is not allowed.
    """
    return parse_query(request.query_params, PoseQuery)


def parse_query(query: QueryParams, model: type[Options]) -> Options:
    """The options that a query string stands for.

    Raises:
        ProblemError: 422 for an unknown or repeated option or a value that is not allowed.
    """
    pairs = query.multi_items()
    given = dict(pairs)
    check_known(given, model)
    if len(given) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ProblemError(INVALID_REQUEST, f"{twice}: the option is given twice: give it once.")
    return validated(given, model)


def check_known(given: Mapping[str, object], model: type[BaseModel], *more: str) -> None:
    """`ProblemError` 422 if a key is neither a field of the model nor one of `more`."""
    for key in given:
        if key not in model.model_fields and key not in more:
            known = ", ".join([*model.model_fields, *more])
            detail = f"{key[:40]}: there is no such option: the options are {known}."
            raise ProblemError(INVALID_REQUEST, detail)


def validated(given: Mapping[str, object], model: type[Options]) -> Options:
    """Options of such values; `ProblemError` 422 names one that is not allowed."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise ProblemError(INVALID_REQUEST, f"{validation_detail(error)}.") from None


def query_parameters() -> list[dict[str, Any]]:
    """The options as OpenAPI parameters, described by their own docstrings."""
    properties: dict[str, dict[str, Any]] = PoseQuery.model_json_schema()["properties"]
    properties["boxes"] = {
        "type": "string",
        "description": properties["boxes"]["description"],
        "example": "100,80,160,220;300,90,350,230",
    }
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.get("description", ""),
            "schema": {k: v for k, v in schema.items() if k not in {"title", "description"}},
        }
        for name, schema in properties.items()
    ]
