"""Studies: a grid of settings, trained over several seeds, scored alike and compared in pairs.

It starts trainings and evaluations and reads what they leave; nothing here knows how they work.
"""
