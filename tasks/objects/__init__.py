"""Kubernetes objects as plain data: what is wanted, made by pure functions, and how it differs from what is there."""
