"""The parts of the training loop: processes, schedule, one step, averaged weights, the log.

Nothing here reads pictures or knows what is learned; `trainer` puts the parts together.
"""
