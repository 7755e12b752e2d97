"""Benchmarks of the service: its engines side by side."""
