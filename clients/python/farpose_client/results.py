"""What a service answers, typed and frozen. Fields that a newer service adds are passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import msgspec

from farpose_client import coco, drawing, to_supervision
from farpose_client.errors import FarposeError, UnexpectedAnswerError
from farpose_client.pictures import Channels, Picture

if TYPE_CHECKING:
    import supervision
    from PIL.Image import Image

Answer = TypeVar("Answer", bound=msgspec.Struct)


class ImageSize(msgspec.Struct, frozen=True):
    """Size of the displayed picture (EXIF orientation applied), in pixels."""

    width: int
    height: int


class Box(NamedTuple):
    """Edges in pixels of the displayed picture: 0 is the left edge of the first pixel."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        """In pixels."""
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        """In pixels."""
        return self.y2 - self.y1


class Keypoint(NamedTuple):
    """A joint, in pixels of the displayed picture: 0 is the centre of the first pixel."""

    x: float
    y: float

    score: float
    """0 to 1; 1 when the model is as sure as its training label."""


class Variance(NamedTuple):
    """Spread of a joint, in pixels squared."""

    x: float
    y: float


class Person(msgspec.Struct, frozen=True):
    """One person."""

    score: float
    """How sure the detector is, 0 to 1; 1 where the caller gave the box."""

    box: Box

    model: str
    """Which pose model saw the person."""

    keypoints: tuple[Keypoint, ...]
    """In the order of the result's `keypoint_names`."""

    unsure: tuple[bool, ...] = ()
    """For each keypoint, whether it is more likely wrong than right."""

    variances: tuple[Variance, ...] | None = None
    """Spread of each keypoint, if asked for."""

    track_id: int | None = None
    """Who it is among the people of the camera, if the picture came from one: from the second
    picture on that the person is seen in."""


class PoseResult(msgspec.Struct, frozen=True):
    """The people of one picture; nobody is an empty tuple."""

    id: str
    """The request's id; the service's log has it."""

    image: ImageSize

    models: dict[str, str]
    """Name to version of the models that ran."""

    keypoint_names: tuple[str, ...]

    people: tuple[Person, ...]
    """The surest first, or in the order of the given boxes."""

    timing_ms: dict[str, float]
    """Milliseconds per stage in the service, and `total`."""

    def to_coco(self, image_id: int, category_id: int = 1) -> list[dict[str, Any]]:
        """COCO keypoint results, a dictionary per person.

        The score is the box score times the mean joint score above 0.2, the rescoring of Xiao et
        al. (ECCV 2018), as `farpose predict --format coco` writes it.
        """
        return coco.results(self, image_id, category_id)

    def to_supervision(self) -> supervision.KeyPoints:
        """The joints as `supervision.KeyPoints`.

        Raises:
            MissingPackageError: `supervision` is not installed.
        """
        return to_supervision.keypoints(self)

    def to_detections(self) -> supervision.Detections:
        """The boxes as `supervision.Detections`, with `tracker_id` where there are track ids; -1 is
        somebody who has none yet.

        Raises:
            MissingPackageError: `supervision` is not installed.
        """
        return to_supervision.detections(self)

    def draw(
        self,
        picture: Picture,
        *,
        threshold: float = 0.2,
        boxes: bool = True,
        channels: Channels = "RGB",
    ) -> Image:
        """The picture with everybody's limbs, joints and boxes drawn on it.

        Args:
            picture: the one that was sent, in any of its forms; it stays as it is.
            threshold: joints that score lower are not drawn.
            boxes: whether to draw boxes.
            channels: order of an array's colours.

        Raises:
            BadImageError: it cannot be decoded, or has another size than the one that was sent.
            MissingPackageError: Pillow is not installed.
        """
        return drawing.drawn(self, picture, threshold, boxes, channels)


class StreamReply(PoseResult, frozen=True, kw_only=True):
    """The people of one picture of a camera."""

    frame: int
    """Number of the picture among those sent over the stream, from 0; it goes on when the stream
    connects anew."""

    dropped: int
    """Pictures since the last reply that were dropped because a newer one had come, or lost with
    a connection."""

    frame_age_ms: float
    """Milliseconds from the picture's arrival at the service to this reply."""

    connection: int = 0
    """How often the stream has connected anew. Then track ids start anew too: the same number on
    another connection is somebody else."""


class Tensor(msgspec.Struct, frozen=True):
    """One input or output of a model."""

    name: str

    dtype: str
    """NumPy's name."""

    shape: tuple[int | None, ...]
    """None where the size may vary."""


class Skeleton(msgspec.Struct, frozen=True):
    """The joints that a pose model answers, and the limbs between them."""

    joints: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]


class ModelInfo(msgspec.Struct, frozen=True):
    """One model that a service has."""

    name: str
    version: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int

    properties: dict[str, str]
    """Keypoint set, resolution, training data, metrics, ..."""

    skeleton: Skeleton | None = None
    """Of a pose model."""


class Health(msgspec.Struct, frozen=True):
    """How a service is."""

    live: bool
    """It answers."""

    ready: bool
    """Pictures can be sent."""

    detail: str = ""
    """Why not, if not."""

    @classmethod
    def of(cls, error: FarposeError) -> Health:
        """How a service is that answers with an error, or not at all; raises what says neither."""
        if not error.retryable:
            raise error
        return cls(live=error.problem is not None, ready=False, detail=str(error))


class _Ready(msgspec.Struct, frozen=True):
    status: Literal["ready"]


class _Models(msgspec.Struct, frozen=True):
    models: tuple[ModelInfo, ...]


def health_of(content: bytes) -> Health:
    """What `GET /health/ready` answers with 200."""
    parsed(content, _Ready)
    return Health(live=True, ready=True)


def models_of(content: bytes) -> tuple[ModelInfo, ...]:
    """What `GET /models` answers."""
    return parsed(content, _Models).models


def result_of(content: bytes) -> PoseResult:
    """What `POST /pose` answers."""
    return _checked(parsed(content, PoseResult))


def reply_of(content: bytes) -> StreamReply:
    """What `WS /stream` answers to a picture."""
    return _checked(parsed(content, StreamReply))


def parsed(content: bytes, kind: type[Answer]) -> Answer:
    """JSON of a service as an object.

    Raises:
        UnexpectedAnswerError: it is no JSON, or lacks what it must have.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnexpectedAnswerError(
            f"The answer is not one that this client understands ({error}): is this a Farpose "
            "service, and of a version that goes with this client?"
        ) from error


ResultT = TypeVar("ResultT", bound=PoseResult)


def _checked(result: ResultT) -> ResultT:
    expected = len(result.keypoint_names)
    for person in result.people:
        if len(person.keypoints) != expected:
            raise UnexpectedAnswerError(
                f"A person has {len(person.keypoints)} keypoints, but {expected} have names"
            )
    return result
