"""Many runs, or asv's results: a series for each loss and target, and where it stepped to another level."""
