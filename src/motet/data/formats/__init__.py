"""Readers of file formats, which detect damaged files."""
