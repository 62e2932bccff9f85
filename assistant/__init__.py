"""What is said now, who checks it, and what is learned from it."""
