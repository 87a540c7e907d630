"""Work that starts from finished runs: recommending, timing, repeating, estimating."""
