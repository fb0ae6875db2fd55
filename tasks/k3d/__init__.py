"""The k3d cluster: its generated configuration, its steps, and the watch over its nodes."""
