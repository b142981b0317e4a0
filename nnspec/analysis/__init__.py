"""Analyse runs and trained networks: compare, verify, evaluate, predict, and measure the loss landscape."""
