"""Command lines, files and protocols of other programs: docker, k3d, helm, kubectl, kubeconfigs, registries."""
