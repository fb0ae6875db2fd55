"""All settings: one typed tree, its layers, and the origin of each value."""
