"""The commands of the core package, one function per module; `farpose.cli` finds and runs them.

What a command computes lives elsewhere; here are its options and what it prints.
"""
