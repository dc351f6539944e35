"""What becomes of scores and structures: files, figures, rankings."""
