"""Where products come from: whole files, digests of code, records, the chain of them, the environment."""
