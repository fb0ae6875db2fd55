"""Launches again and again, and what may be said of the differences."""
