"""The query of `POST /pose`: `PoseOptions` and the form of the answer, nothing else."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Request
from pydantic import ConfigDict, ValidationError

from farpose.options import PoseOptions
from farpose_serving.problems import INVALID_REQUEST, ProblemError, validation_detail


class PoseQuery(PoseOptions):
    """Options of one request, and what to answer."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    format: Literal["json", "image"] = "json"
    """`json`, or `image` for the picture with the people drawn on it (a JPEG)."""


def pose_query(request: Request) -> PoseQuery:
    """The query of a request.

    Raises:
        ProblemError: 422 for an unknown or repeated option or a value that is not allowed.
    """
    pairs = request.query_params.multi_items()
    given = dict(pairs)
    for key in given:
        if key not in PoseQuery.model_fields:
            known = ", ".join(PoseQuery.model_fields)
            detail = f"{key[:40]}: there is no such option: the options are {known}."
            raise ProblemError(INVALID_REQUEST, detail)
    if len(given) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ProblemError(INVALID_REQUEST, f"{twice}: the option is given twice: give it once.")
    try:
        return PoseQuery.model_validate(given)
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
