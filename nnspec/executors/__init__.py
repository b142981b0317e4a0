"""Executors run groups of trainings: in this process, in other processes, or on a cluster."""
