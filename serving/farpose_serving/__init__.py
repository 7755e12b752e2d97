"""The HTTP service: routes, how requests are read and limited, errors, and `farpose serve`.

What a pose is and how it is found stays in `farpose`; torch, training and export never come here.
"""
