"""The same graph in fewer bits: FP16 and INT8, and which of its layers can bear them.

Graphs in, graphs out; whether the result is good enough is decided by `gate`.
"""
