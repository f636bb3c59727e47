"""Stand-ins: the official files of datasets in their own layouts, generated offline.

They are reproducible to the byte: the same seed on the same kind of processor gives the same files.
"""
