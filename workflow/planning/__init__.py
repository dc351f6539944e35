"""What will run, in which batches, and what it will cost."""
