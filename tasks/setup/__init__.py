"""Fetching k3d, kubectl and helm in pinned versions, each checked against the checksum that its project publishes."""
