"""The Kubernetes API: client, watches, server-side apply, drift, readiness, waits, Helm's release records."""
