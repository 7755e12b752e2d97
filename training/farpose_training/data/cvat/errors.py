"""What can be wrong with an export."""

from __future__ import annotations


class CvatError(ValueError):
    """An export cannot be read; the message names the file or label and says what to do."""
