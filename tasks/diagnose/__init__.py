"""Why something failed: known causes with their remedies, and what pods and nodes say."""
