"""Learning from footage that nobody labelled: a teacher labels its large people, a student learns
them small, and is kept only if an evaluation on people labelled by hand says that it is better.
"""
