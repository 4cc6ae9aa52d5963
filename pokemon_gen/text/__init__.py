"""Text: corpora, tokenizers, training, generation and scores of character models and their like."""
