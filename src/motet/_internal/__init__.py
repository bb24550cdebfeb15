"""Private helpers that several packages use. Nothing here is part of the public interface."""
