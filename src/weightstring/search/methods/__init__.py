"""The methods of finding a string: Section II, its rivals, and strategies made of others."""
