"""Where data sets come from: one file for each source."""
