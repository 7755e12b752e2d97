"""What can go wrong while footage is labelled or two models are compared."""

from __future__ import annotations


class LabellingError(ValueError):
    """It cannot be done with these files or options; the message says what to change."""
