"""The encoder-decoder over item codes: history's codes in, the next item's code out."""
