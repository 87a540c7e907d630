"""One run: request, split, training, ranking, record."""
