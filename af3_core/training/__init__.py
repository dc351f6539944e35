"""Training and fine-tuning: examples, losses, optimiser, checkpoints, the loop."""
