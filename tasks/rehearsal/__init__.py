"""The embedded engine: stand-ins for docker, k3d, kubectl and helm, and a model of the time that the real ones take."""
