"""What lies around single specs: which files are meant, what the project says of them, and what is known already."""
