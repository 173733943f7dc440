"""Plain networks by code of ours that the system's compiler makes for this processor at first use."""
