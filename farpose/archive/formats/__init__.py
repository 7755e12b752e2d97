"""Files that other programs read: tables, and labels for annotation and training."""
