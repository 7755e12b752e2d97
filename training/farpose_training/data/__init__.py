"""From annotation files to batches of crops and joint labels."""
