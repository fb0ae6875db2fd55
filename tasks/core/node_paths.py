"""Where k3s keeps its files in a node."""

DATA = "/var/lib/rancher/k3s"
"""A node's data (k3s: --data-dir)."""
IDENTITY = "/etc/rancher/node"
"""A node's password; without it no agent is let in again (k3s: `pkg/nodepassword`)."""
