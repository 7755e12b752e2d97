"""Drawn people whose joints are known exactly, so that everything runs without a download.

A random skeleton is posed, dressed, drawn over a made-up background and written with COCO-style
annotations; what is learned from such pictures says little about photographs.
"""
