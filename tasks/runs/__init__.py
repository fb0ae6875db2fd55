"""Recorded runs, shown as text, page, trace and comparison. Pure: nothing here runs a step."""
