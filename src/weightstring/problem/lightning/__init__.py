"""LightningModules: their own steps as losses, without a Trainer, and the data of their DataModules."""
