"""Whether a loss of one's own is right: value, gradient, edges, dtypes, modes, shapes."""
