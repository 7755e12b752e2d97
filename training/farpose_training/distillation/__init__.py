"""Cross-domain knowledge distillation (arXiv 2405.11448): what a teacher adds to the loss.

Everything here is used in training only; an exported student has nothing of it.
"""
