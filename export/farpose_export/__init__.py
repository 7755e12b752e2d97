"""The export stage: a trained checkpoint becomes a frozen model in a Triton repository.

Nothing here imports serving or clients.
"""
