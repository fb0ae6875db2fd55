"""The Kubernetes API: what is read from it, and what it means."""
