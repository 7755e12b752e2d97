"""What the pipeline answers for one picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from farpose.drawing import DRAW_THRESHOLD, draw_anonymous, draw_people
from farpose.images import decode_image
from farpose.people import People

if TYPE_CHECKING:
    import supervision


class NoPictureError(ValueError):
    """A result does not hold the picture it was found in."""


@dataclass(frozen=True, repr=False)
class PoseResult:
    """What the pipeline found in one picture.

    In a notebook it shows itself: the picture with skeletons, and a table of the people.
    """

    people: People
    width: int
    """Pixels of the displayed picture."""

    height: int
    models: Mapping[str, str]
    """Name to version of the models that ran."""

    timing_ms: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds per stage, and `total`."""

    picture: bytes | NDArray[np.uint8] | None = field(default=None, compare=False)
    """What the people were found in, as it was given: encoded, or `[H,W,3]` RGB. `farpose.Pose`
    keeps it to draw on; elsewhere it is None."""

    source: str | None = None
    """The file, where there was one."""

    index: int | None = None
    """Number of the frame in its video from 0; None for a picture."""

    time: float | None = None
    """Seconds from the beginning of the video; None for a picture, or where the file does not
    say."""

    def __len__(self) -> int:
        return len(self.people)

    def __iter__(self) -> Iterator[People]:
        """Everybody, one by one."""
        return iter(self.people)

    def __bool__(self) -> bool:
        """A result is true even where nobody is."""
        return True

    @property
    def boxes(self) -> NDArray[np.float32]:
        """`[P,4]` x1, y1, x2, y2 in pixels of the displayed picture, continuous edges."""
        return self.people.boxes

    @property
    def scores(self) -> NDArray[np.float32]:
        """`[P]` detection scores 0..1."""
        return self.people.scores

    @property
    def keypoints(self) -> NDArray[np.float32]:
        """`[P,J,3]` x, y (pixel-centre indices of the displayed picture) and score 0..1."""
        return self.people.keypoints

    @property
    def variances(self) -> NDArray[np.float32]:
        """`[P,J,2]` spread of x and y in pixels squared."""
        return self.people.variances

    @property
    def track_ids(self) -> NDArray[np.int64] | None:
        """`[P]` who it is among the people of a video, -1 for nobody yet; None if not tracked."""
        return self.people.track_ids

    @property
    def image(self) -> NDArray[np.uint8]:
        """The picture, `[H,W,3]` RGB as displayed; `NoPictureError` if it was not kept."""
        if self.picture is None:
            raise NoPictureError("the picture was not kept in this result")
        if isinstance(self.picture, bytes):
            return decode_image(self.picture)
        return self.picture

    def draw(
        self, *, threshold: float = DRAW_THRESHOLD, boxes: bool = True, anonymous: bool = False
    ) -> Image.Image:
        """The picture with skeletons; notebooks show it, `.save("drawn.png")` writes it.

        Args:
            threshold: joints that score lower are left out.
            boxes: whether boxes are drawn too.
            anonymous: draw on a plain background, without the picture.

        Raises:
            NoPictureError: the picture was not kept, and the drawing is not anonymous.
        """
        settings: dict[str, Any] = {"threshold": threshold, "boxes": boxes}
        if anonymous:
            canvas = draw_anonymous(self.width, self.height, self.people, **settings)
        else:
            canvas = draw_people(self.image, self.people, **settings)
        return Image.fromarray(canvas)

    def to_list(self, *, variances: bool = False) -> list[dict[str, Any]]:
        """See `People.to_list`."""
        return self.people.to_list(variances=variances)

    def to_coco(self, image_id: int, category_id: int = 1) -> list[dict[str, Any]]:
        """See `People.to_coco`."""
        return self.people.to_coco(image_id, category_id)

    def to_supervision(self) -> supervision.KeyPoints:
        """See `People.to_supervision`."""
        return self.people.to_supervision()

    def __repr__(self) -> str:
        return f"<PoseResult {self.describe()}>"

    def describe(self) -> str:
        """Source, size and people in one line."""
        place = "" if self.source is None else self.source
        if self.index is not None:
            place += f" frame {self.index}"
        if self.time is not None:
            place += f" at {self.time:.2f} s"
        parts = [place.strip(), f"{self.width}x{self.height}", self.people.describe()]
        return ", ".join(filter(None, parts))

    def _repr_html_(self) -> str:
        from farpose.notebook import result_html

        return result_html(self)

    def _repr_jpeg_(self) -> bytes:
        from farpose.notebook import result_jpeg

        return result_jpeg(self).data
