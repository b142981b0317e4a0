"""Results of a bench as files for a paper: CSV, and LaTeX that compiles without other files."""
