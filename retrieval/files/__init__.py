"""Reads people's files: what is in this PDF, page, sheet or mail, as Markdown that can be cut into passages."""
