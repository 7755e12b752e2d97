"""Work through folders and long videos: overlapped, resumable, and written in many formats.

Results go into parts beside the output first, which are merged at the end; nothing here knows how a
cluster hands out files (`farpose.cluster`).
"""
