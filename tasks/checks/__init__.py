"""What may prevent a launch: facts are gathered apart, and each check only judges them."""
