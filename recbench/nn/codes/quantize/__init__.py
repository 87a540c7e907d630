"""Quantizers: from item vectors to a few small numbers per item. `settings` imports no torch."""
