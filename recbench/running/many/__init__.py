"""Many runs at once: comparisons, searches, and the processes and machines that they use."""
