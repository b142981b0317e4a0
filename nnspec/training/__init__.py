"""Training one lane with one seed: epochs, best epoch, checkpoints, and groups of lanes that train together."""
