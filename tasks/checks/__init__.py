"""What may prevent a launch: facts are gathered elsewhere, and each check only judges them."""
