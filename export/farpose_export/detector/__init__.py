"""Detectors that the user brings, as `person_detector` of a repository.

Networks of two makes are read: Ultralytics weights, through their own package, and RTMDet as
MMDeploy exports it. What is written has one contract, whatever it was.
"""
