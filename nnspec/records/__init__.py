"""Runs on disk: folders, records and weights, written and read back."""
