"""The training stage: datasets, augmentation, models, losses and the loop that trains students.

Nothing here imports serving or clients.
"""
