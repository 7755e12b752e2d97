"""People over time: the pictures of one camera, whose people keep their ids.

What a camera is, what waits and what is dropped is the caller's business.
"""

from farpose.people import NOBODY
from farpose.tracking.identities import TrackingUnavailableError
from farpose.tracking.session import CameraSession, Find, StaleFrameError

__all__ = ["NOBODY", "CameraSession", "Find", "StaleFrameError", "TrackingUnavailableError"]
