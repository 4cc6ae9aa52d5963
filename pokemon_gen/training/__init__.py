"""Training: one run with the Hugging Face `Trainer`, from its arguments to its last checkpoint."""
