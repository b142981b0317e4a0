"""One training of one lane: its epochs, best epoch, checkpoints, and the groups that train together."""
