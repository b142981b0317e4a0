"""What is said of runs, in sentences and numbers that every view shares."""
