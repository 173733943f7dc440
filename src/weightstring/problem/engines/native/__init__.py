"""Plain and convolutional networks by code of ours that the system's compiler makes at first use."""
