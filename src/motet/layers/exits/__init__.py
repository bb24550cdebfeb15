"""Networks with outputs at several depths."""
