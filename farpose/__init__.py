"""What a pose is: keypoint sets, crops, SimCC codec, results, and the pipeline over an engine.

Nothing in this package imports torch, fastapi, or a stage of the project.
"""
