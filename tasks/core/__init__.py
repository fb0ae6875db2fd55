"""What every other package may use: files that are whole, locks, and nothing that knows Docker or Kubernetes."""
