"""What was searched once, by content, for all campaigns."""
