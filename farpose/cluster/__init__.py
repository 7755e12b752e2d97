"""An archive's files spread over the workers of a Ray cluster: connect, hand out, try again.

What is done with one file lives in `farpose.archive`; nothing here knows of frames or people.
"""
