"""Steps, their graph, the pool and the record of a run.

Knows nothing of docker, k3d, kubectl or helm.
"""
