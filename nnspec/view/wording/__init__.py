"""Sentences and numbers about runs, shared by all views."""
