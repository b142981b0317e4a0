"""What a program means: the resolved program, its identity, and the difference between two."""
