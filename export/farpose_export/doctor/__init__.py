"""`farpose doctor`: what will not work on this machine, and what to do about it.

It runs with what serving installs, and with less: what is missing is what it is there to say.
"""
