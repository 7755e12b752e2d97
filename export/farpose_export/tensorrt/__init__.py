"""TensorRT engines: whether a graph can become one, the build, and the manifest beside it.

The `tensorrt` package is imported when an engine is built and at no other time.
"""
