"""Fine-tuning RTMDet-nano into our person detector for low-resolution input, and its ONNX export.

What a detection *is* to the rest of Farpose (letterbox, recall) lives in `farpose`, not here.
"""
