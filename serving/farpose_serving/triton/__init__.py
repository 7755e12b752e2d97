"""A real Triton server on any machine: without Docker, without a GPU.

The server comes out of a package of the registry and runs in an environment of its own, as its
Python backend needs an older NumPy than the rest of Farpose. The backend `onnxruntime` here serves
the same model folders that NVIDIA's does in their containers.
"""
