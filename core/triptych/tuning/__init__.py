"""Fine-tuning: one file per strategy, and the training loop they share."""
