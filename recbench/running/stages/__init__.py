"""Expensive steps kept under the hash of all that shaped them."""
