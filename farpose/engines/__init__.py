"""Engines run models for the pipeline; each module here has one heavy import.

`farpose` itself imports none of them: the caller picks an engine.
"""
