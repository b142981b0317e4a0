"""Working with the specs of a project: finding files, configuration, cached results, fixes and tests."""
