"""File formats: how bytes on disk become tensors, with damage named."""
