"""Tasks that bring up a local Kubernetes environment on k3d as one graph."""
