"""`farpose watch`: cameras read as they are now, their people handed on as they are found.

Here is what a camera is over time (opened, lost, tried again) and where records go; how people are
found and followed is in `farpose.pipeline` and `farpose.tracking`, or behind a service's address.
"""
