"""What every layer uses: errors, paths, files, locks, redaction, YAML, image references, units.

It imports nothing of this project.
"""
