"""What starts from finished runs: recommending, timing, repeating, estimating."""
