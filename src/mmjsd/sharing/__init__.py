"""Models for others: folders for the Hugging Face Hub, and networks as ONNX."""
