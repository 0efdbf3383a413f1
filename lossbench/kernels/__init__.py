"""What generated kernels stand on: functions of one number, sums, compilation and calls."""
