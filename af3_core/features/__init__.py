"""From a job and its evidence to what the model reads."""
