"""Verified export: a trained network as a file for other programs, compared with nnspec's own layer by layer."""
