"""Numbers for everything the product claims, from the same code that serves."""
