"""What runs any strategy: propose, run, write down, absorb; in this process or in others."""
