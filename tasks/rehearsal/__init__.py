"""The embedded engine: simulated docker, k3d, kubectl and helm, and a model of the time that the real ones take."""
