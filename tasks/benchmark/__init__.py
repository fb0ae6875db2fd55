"""Launches repeated and compared, and what may be said of the differences."""
