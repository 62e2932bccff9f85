"""What do we know: passages, their embeddings, and search over both words and meaning."""
