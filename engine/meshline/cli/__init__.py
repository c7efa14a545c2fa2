"""The command line: the one package that knows all rooms and composes them."""
