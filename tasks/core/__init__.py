"""What every other package may use: files, locks, YAML, and nothing that knows Docker or this project's tasks."""
