"""lossbench: what every loss function is, whether frameworks compute it right, and how fast."""
