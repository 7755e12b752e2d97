"""Cameras: pictures of one place after another, whose people keep their ids.

How people are followed is in `farpose.tracking`; here is which camera a picture belongs to, what
waits and what is dropped.
"""
