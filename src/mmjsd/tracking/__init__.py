"""MLflow: one run per parameter set and seed, the store it lies in, and what its errors mean."""
