"""`farpose.Pose` and what it answers, with the bundled models."""
