"""Repeated launches, compared, with the statistical significance of differences."""
