"""What may stand in the way of a launch: facts are gathered apart, and each check only judges them."""
