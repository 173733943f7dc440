"""Groups of options that several commands share, and what each is read into. None imports PyTorch at its top."""
