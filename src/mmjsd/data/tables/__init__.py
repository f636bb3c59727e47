"""Tables of people's own: files, columns, and what becomes of them in a store."""
