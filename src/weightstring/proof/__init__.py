"""What can be proved: a bound on the loss along a whole string, and a check of that proof by other code."""
