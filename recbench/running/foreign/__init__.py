"""Ranked lists of other toolkits."""
