"""How well poses and boxes agree with labels: datasets, OKS AP, PCK, tables by person height.

Everything here is NumPy on results that are already computed; no model runs in this package except
through the callables handed to it.
"""
