"""What is tried of a module, a loss and data before any number of theirs is believed."""
