"""All settings: one typed tree, the layers it is made from, and where each value came from."""
