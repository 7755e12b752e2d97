"""The gate: a graph is published only if it answers as the checkpoint does, measured on crops.

Nothing here writes files, and nothing writes a model that has not passed here.
"""
