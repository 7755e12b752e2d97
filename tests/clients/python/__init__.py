"""The Python client, against the real service and against peers that are none."""
