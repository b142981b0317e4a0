"""Where groups of trainings run: in this process, in others, on a cluster."""
