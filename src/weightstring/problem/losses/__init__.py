"""What a loss or metric is over a whole set: how its value comes from parts."""
