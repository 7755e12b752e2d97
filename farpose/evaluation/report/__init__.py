"""The report of one pose model, or of two side by side, on labelled people.

It measures with the parts of `farpose.evaluation` and writes what it found as one HTML page,
Markdown with PNG files, and JSON. Engines are opened by the caller.
"""
