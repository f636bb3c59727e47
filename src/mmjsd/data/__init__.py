"""Datasets: sources, the multimodal store built from them, and batches of it on the device."""
