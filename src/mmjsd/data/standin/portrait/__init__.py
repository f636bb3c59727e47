"""Drawn faces, most of whose attributes show."""
