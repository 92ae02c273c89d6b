"""Other libraries' tasks and optimizers, in and out; each is imported where it is used only."""
