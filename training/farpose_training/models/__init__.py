"""Pose networks: backbones, heads, and how a checkpoint is turned back into a model."""
