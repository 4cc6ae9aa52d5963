"""What happens inside a model: activations, attention, early predictions, ablations, embeddings, features."""
