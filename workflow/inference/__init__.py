"""One process with a device: trusted first, then kept busy, and what it did said."""
